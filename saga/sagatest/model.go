package sagatest

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"pgregory.net/rapid"

	"github.com/innermesh/innermesh/saga"
)

// model is what a log should be: a saga is a few words, and time a number.
type model struct {
	now   time.Duration
	sagas map[string]*fact
}

type fact struct {
	status    saga.Status
	notBefore time.Duration
	lease     time.Duration
	token     uint64
	change    int
}

// ended is one of the times at which sagas of the model end.
var ended = time.Unix(1_000_000_000, 0).UTC()

// timeless hides the test's deadline, which may not be asked for in a bubble.
type timeless struct{ rapid.TB }

var statuses = []saga.Status{saga.Running, saga.Running, saga.Compensating, saga.Stuck, saga.Completed, saga.Compensated}

// model compares a log with a model over random steps. Times are such that no two
// ends meet.
func (t *suite) model() {
	var round int
	check := func(r *rapid.T) {
		round++
		kind := saga.Type{Name: fmt.Sprint("round-", round), Version: 1, Fingerprint: "f"}
		m := &model{sagas: map[string]*fact{}}
		changes := 0
		var held []saga.Record
		var names []string
		for i := range 4 {
			names = append(names, fmt.Sprintf("%s/%d", kind.Name, i))
		}
		name := func(r *rapid.T) string { return rapid.SampledFrom(names).Draw(r, "saga") }
		draw := func(r *rapid.T, x *saga.Record) (*fact, time.Duration) {
			lease := rapid.SampledFrom([]time.Duration{0, Lease}).Draw(r, "lease")
			after := rapid.SampledFrom([]time.Duration{-time.Second, 50 * time.Second}).Draw(r, "not before")
			changes++
			x.Type, x.Status, x.Stuck, x.Ended, x.Owner = kind, rapid.SampledFrom(statuses).Draw(r, "status"), changes, time.Time{}, "model"
			x.NotBefore = time.Now().Add(after).UTC().Truncate(time.Microsecond)
			if x.Status.Ended() {
				x.Ended = ended.Add(time.Duration(rapid.IntRange(0, 3).Draw(r, "ended")) * time.Hour)
			}
			return &fact{status: x.Status, notBefore: m.now + after, lease: m.now + lease, token: x.Token, change: changes}, lease
		}
		r.Repeat(map[string]func(*rapid.T){
			"create": func(r *rapid.T) {
				x := Record(name(r))
				f, lease := draw(r, &x)
				err := t.log.Create(t.Context(), x, lease)
				if m.sagas[x.ID] != nil {
					must(r, "create what is there", err, saga.ErrExists)
					return
				}
				must(r, "create", err, nil)
				m.sagas[x.ID] = f
				held = append(held, x)
			},
			"claim": func(r *rapid.T) {
				c := saga.Claim{
					Owner: "model", Lease: Lease, Types: []saga.Type{kind}, Limit: rapid.IntRange(1, 4).Draw(r, "limit"),
					Statuses: rapid.SliceOfNDistinct(rapid.SampledFrom(statuses[1:4]), 1, -1, rapid.ID).Draw(r, "statuses"),
				}
				if rapid.IntRange(0, 2).Draw(r, "by ID") == 0 {
					c.ID = name(r)
				}
				got, err := t.log.Claim(t.Context(), c)
				must(r, "claim", err, nil)
				m.claim(r, c, got)
				held = append(held, got...)
			},
			"save": func(r *rapid.T) {
				if len(held) == 0 {
					r.Skip("nobody holds a saga")
				}
				x := held[rapid.IntRange(0, len(held)-1).Draw(r, "copy")].Clone()
				f, lease := draw(r, &x)
				err := t.log.Save(t.Context(), x, lease)
				switch have := m.sagas[x.ID]; {
				case have == nil:
					must(r, "save what is forgotten", err, saga.ErrNotFound)
				case have.token != x.Token:
					must(r, "save with an old token", err, saga.ErrFenced)
				default:
					must(r, "save", err, nil)
					m.sagas[x.ID] = f
				}
			},
			"wait": func(r *rapid.T) {
				d := time.Duration(rapid.IntRange(1, 3).Draw(r, "times")) * 37 * time.Second
				t.h.Advance(t.T, d)
				m.now += d
			},
			"": func(r *rapid.T) {
				p, err := t.log.List(t.Context(), saga.Query{IDs: names})
				must(r, "list", err, nil)
				if len(p.Sagas) != len(m.sagas) {
					r.Fatalf("there are %d sagas, want %d", len(p.Sagas), len(m.sagas))
				}
				for _, x := range p.Sagas {
					f := m.sagas[x.ID]
					if f == nil || x.Status != f.status || x.Stuck != f.change || x.Token != f.token {
						r.Fatalf("got %v change %d token %d, want %+v", x, x.Stuck, x.Token, f)
					}
				}
			},
		})
	}
	rapid.Check(timeless{t.T}, check)
}

// claim compares what was given with what should have been.
func (m *model) claim(r *rapid.T, c saga.Claim, got []saga.Record) {
	due := 0
	for id, f := range m.sagas {
		if f.matches(&c, id, m.now) {
			due++
		}
	}
	if len(got) != min(due, c.Limit) {
		r.Fatalf("claim %d of %d that are due: got %d", c.Limit, due, len(got))
	}
	for _, x := range got {
		f := m.sagas[x.ID]
		if f == nil || !f.matches(&c, x.ID, m.now) || x.Token != f.token+1 || x.Owner != "model" {
			r.Fatalf("given %v to %q with token %d, have %+v", x, x.Owner, x.Token, f)
		}
		f.token++
		f.lease = m.now + Lease
	}
}

func (f *fact) matches(c *saga.Claim, id string, now time.Duration) bool {
	return slices.Contains(c.Statuses, f.status) && f.lease <= now && (c.ID == id || c.ID == "" && f.notBefore <= now)
}

func must(r *rapid.T, what string, err, want error) {
	r.Helper()
	if !errors.Is(err, want) {
		r.Fatalf("%s: %v, want %v", what, err, want)
	}
}
