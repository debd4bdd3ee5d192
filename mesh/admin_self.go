package mesh

import (
	"context"
	"errors"
	"slices"

	"github.com/innermesh/innermesh/discovery"
	"github.com/innermesh/innermesh/health"
	"github.com/innermesh/innermesh/internal/admin"
)

// register notes how this program is announced, for what may be done about it.
func (l *live) register(r *Registered) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.own = append(l.own, r)
}

func (l *live) registered() []*Registered {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.own)
}

// startup is what holds a program that has not said that it has started.
const startup = "startup"

// adminHealth tells how this program is itself, if it has anything to say of it: it
// is announced, or something is wrong.
func (m *Mesh) adminHealth() (facts []admin.Fact) {
	report := m.health.Report()
	judged := slices.ContainsFunc(report.Parts, func(p health.Part) bool { return p.Name != startup })
	if len(m.live.registered()) == 0 && !judged {
		return nil // a program that serves nobody never says that it has started
	}
	whole := admin.Fact{Name: "This process", Value: "ready", Tone: admin.OK}
	switch {
	case !report.Live:
		whole.Value, whole.Tone = "beyond help", admin.Bad
	case !report.Ready:
		whole.Value, whole.Tone = "not ready", admin.Bad
	case report.Health == discovery.Warning:
		whole.Value, whole.Tone = "ready, with a warning", admin.Warn
	}
	facts = append(facts, whole)
	for _, p := range report.Parts {
		if p.Health == discovery.Passing {
			continue
		}
		f := admin.Fact{Name: clip(p.Name), Value: clip(p.Output), Tone: admin.Bad}
		if p.Health == discovery.Warning {
			f.Tone = admin.Warn
		}
		facts = append(facts, f)
	}
	return facts
}

// adminDuties are what may be done about this program by hand, once it is announced.
func (m *Mesh) adminDuties() []admin.Duty {
	own := m.live.registered()
	if len(own) == 0 {
		return nil
	}
	all := func(do func(ctx context.Context, r *Registered) error) func(context.Context) error {
		return func(ctx context.Context) error {
			var faults []error
			for _, r := range own {
				faults = append(faults, do(ctx, r))
			}
			return errors.Join(faults...)
		}
	}
	return []admin.Duty{
		{
			ID: "maintain", Label: "Take into maintenance", Hint: "nobody new comes until it is ended",
			Do: all(func(ctx context.Context, r *Registered) error { return r.Maintenance(ctx, true, "by the live page") }),
		},
		{
			ID: "end-maintenance", Label: "End maintenance", Hint: "whoever has set it",
			Do: all(func(ctx context.Context, r *Registered) error { return r.Maintenance(ctx, false, "") }),
		},
		{
			ID: "drain", Label: "Drain", Hint: "nobody new comes any more; there is no way back but a new start",
			Do: all(func(ctx context.Context, r *Registered) error { return r.Drain(ctx) }),
		},
	}
}
