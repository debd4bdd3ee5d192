package mesh

import (
	"maps"
	"slices"

	"github.com/innermesh/innermesh/internal/upstream"
	"github.com/innermesh/innermesh/policy"
)

// parked is a change that is good by itself and contradicts what others say now.
// They come in any order: it is tried again with each change that is taken, so
// that all programs end with the same policy whatever they heard first.
type parked struct {
	service string
	update  policyUpdate
	err     error
	told    bool // that it is refused
}

// park keeps a change for later, and says so unless those it contradicts may
// still speak.
func (p *policies) park(service string, u policyUpdate, err error) {
	p.mu.Lock()
	told := p.complete(service)
	p.parked[u.what] = &parked{service, u, err, told}
	p.mu.Unlock()
	if told {
		p.note(service, u, err)
	}
}

// complete says whether all sources have spoken of a service, or of all. The
// caller holds the lock.
func (p *policies) complete(service string) bool {
	if f := p.followed[service]; service != "" {
		return f == nil || f.silent == 0
	}
	return !slices.ContainsFunc(p.sources, func(s policySource) bool { return s.shared() && !p.heard[s.name()] })
}

// settled tells of the changes that are parked for good, now that everybody has
// spoken of a service, or of all.
func (p *policies) settled(service string) {
	p.mu.Lock()
	var all []*parked
	for _, w := range p.parked {
		if w.service == service && !w.told && p.complete(service) {
			w.told = true
			all = append(all, w)
		}
	}
	p.mu.Unlock()
	for _, w := range all {
		p.note(service, w.update, w.err)
	}
}

// unpark takes the changes that can be taken now, and returns whose they are.
func (p *policies) unpark() (services []string) {
	for again := true; again; {
		again = false
		p.mu.Lock()
		all := maps.Clone(p.parked)
		p.mu.Unlock()
		for _, what := range slices.Sorted(maps.Keys(all)) {
			w := all[what]
			if p.put(w.service, w.update.layers) != nil {
				continue
			}
			p.mu.Lock()
			delete(p.parked, what)
			p.mu.Unlock()
			p.taken(w.service, w.update)
			services, again = append(services, w.service), true
		}
	}
	return services
}

// first is what a service's first plan is made of: what everybody says, unless
// that is no policy together. Then it is what the program itself says, which was
// looked at by New; why is in the log and in Explain.
func (p *policies) first(service string) policy.Effective {
	all := p.of(service)
	err := upstream.Check(service, all)
	if err == nil {
		return all
	}
	p.log.Error("what is pinned and what others say contradict each other: the others are left out", "service", service, "error", err)
	return policy.Merge(p.options(service)...)
}
