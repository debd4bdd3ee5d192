package health

import (
	"slices"
	"strings"
	"time"

	"github.com/innermesh/innermesh/discovery"
)

// Report is how the program is, in all parts.
type Report struct {
	// Live is false while a vital check fails.
	Live bool
	// Ready is false while something keeps the program from serving.
	Ready bool
	// Health is what the registry is told.
	Health discovery.Health
	// Parts are what it was judged by: what holds it, then its checks.
	Parts []Part
}

// Part is one reason of a [Report].
type Part struct {
	// Name is that of a check, or of what holds the program.
	Name string
	// Kind says what it means when it fails. What holds is required.
	Kind Kind
	// Health is passing, or what it makes of the program.
	Health discovery.Health
	// Output says why it is not passing.
	Output string
	// Since is when that began. What holds has none.
	Since time.Time
}

// Report says how the program is, in all parts but those that are left out by
// name.
func (m *Monitor) Report(without ...string) Report {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := Report{Live: true, Parts: m.parts()}
	r.Parts = slices.DeleteFunc(r.Parts, func(p Part) bool { return slices.Contains(without, p.Name) })
	for _, p := range r.Parts {
		r.Health = max(r.Health, p.Health)
		r.Live = r.Live && (p.Kind != Vital || p.Health == discovery.Passing)
	}
	r.Ready = r.Health != discovery.Critical
	return r
}

// parts is what the program is judged by. The caller holds the lock.
func (m *Monitor) parts() (all []Part) {
	for _, h := range m.holds {
		all = append(all, Part{Name: h.name, Health: discovery.Critical, Output: h.reason})
	}
	for _, c := range m.checks {
		all = append(all, c.part())
	}
	return all
}

func (r *running) part() Part {
	p := Part{Name: r.Name, Kind: r.Kind, Since: r.since}
	switch {
	case r.state == up || r.state == unknown && r.Kind != Required:
		return p // what is not required is given time, or a start would look like an end
	case r.state == unknown:
		p.Health, p.Output = discovery.Critical, "has not been asked yet"
	case r.Kind == Informational:
		p.Health, p.Output = discovery.Warning, r.output
	default:
		p.Health, p.Output = discovery.Critical, r.output
	}
	if p.Output == "" { // it has passed since, not often enough
		p.Output = "was failing, and has not passed often enough"
	}
	return p
}

// judge says the same in a word and a line. The caller holds the lock.
func (m *Monitor) judge() (health discovery.Health, output string) {
	var why []string
	for _, p := range m.parts() {
		if p.Health != discovery.Passing {
			why = append(why, p.Name+": "+p.Output)
		}
		health = max(health, p.Health)
	}
	if why == nil {
		return health, "ready"
	}
	return health, strings.Join(why, "; ")
}
