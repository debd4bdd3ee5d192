package mesh

import (
	"maps"
	"slices"
	"strings"
	"time"
)

// applied is a document that is in force.
type applied struct {
	what, service string
	index         uint64
	at            time.Time
	found         bool
}

// booked are the documents in force, by what they are.
type booked map[string]applied

// note says whether it is news.
func (b booked) note(service string, u policyUpdate) bool {
	if old, known := b[u.what]; known && old.index == u.index && old.found == u.found && u.index != 0 {
		return false // the same, told again
	}
	b[u.what] = applied{what: u.what, service: service, index: u.index, at: time.Now(), found: u.found}
	return true
}

func (b booked) forget(service string) {
	maps.DeleteFunc(b, func(_ string, a applied) bool { return a.service == service })
}

// books returns the documents in force, those of all services first, and what was
// refused.
func (p *policies) books() (inForce []applied, refused []Refusal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	inForce = slices.SortedFunc(maps.Values(p.booked), func(a, b applied) int {
		if c := strings.Compare(a.service, b.service); c != 0 {
			return c
		}
		return strings.Compare(a.what, b.what)
	})
	for _, what := range slices.Sorted(maps.Keys(p.refused)) {
		refused = append(refused, p.refused[what])
	}
	return inForce, refused
}
