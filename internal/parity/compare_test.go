package parity_test

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/innermesh/innermesh/internal/parity"
)

// puppet is a subject that does what its plan says, but moves every draw.
type puppet struct {
	plan  *parity.Upstream
	move  float64
	place parity.Drawn // where all calls go, if anywhere
}

func (p puppet) Upstream() *parity.Upstream { return p.plan }

func (p puppet) Decide(r parity.Request) (parity.Decision, error) { return p.plan.Evaluate(r) }

func (p puppet) Draw(r parity.Request, _ bool) (parity.Drawn, error) {
	if p.place.Leg != "" {
		return p.place, nil
	}
	d, err := p.plan.Evaluate(r)
	if err != nil {
		return parity.Drawn{}, err
	}
	x := rand.Float64() + p.move
	for _, leg := range d.Legs {
		if x -= leg.Share; x < 0 {
			return parity.Drawn{Leg: leg.Target}, nil
		}
	}
	return parity.Drawn{Leg: "nobody"}, nil
}

// exceptions allow any difference in fields.
func exceptions(fields []string) (list []parity.Exception) {
	for _, f := range fields {
		list = append(list, parity.Exception{Field: f, Allowed: func(any, any) bool { return true }})
	}
	return list
}

func (p puppet) Call(r parity.Request) (parity.Seen, error) {
	d, err := p.plan.Evaluate(r)
	if err != nil {
		return parity.Seen{}, err
	}
	for _, e := range p.plan.Clusters[d.Legs[0].Target].Levels[0].Endpoints {
		if e.Healthy {
			return parity.Seen{Address: e.Address, Path: d.Path, Header: d.Legs[0].Header, Answer: d.Legs[0].Answer}, nil
		}
	}
	return parity.Seen{Refused: true}, nil
}

func plan() *parity.Upstream {
	return &parity.Upstream{
		Service: "web", Protocol: "http",
		Routes: []parity.Route{{
			Match:   parity.Match{Path: parity.PathMatch{Kind: parity.Prefix, Value: "/"}},
			Timeout: parity.Duration(time.Second), Retry: &parity.Retry{On: []string{"5xx"}, Num: 2},
			Legs: []parity.Leg{{Target: "a", Weight: 9999}, {Target: "b", Weight: 1}, {Target: "c"}},
		}},
		Clusters: map[string]parity.Cluster{"a": nobody(), "b": nobody(), "c": nobody()},
	}
}

func TestCompare(t *testing.T) {
	t.Parallel()
	change := func(f func(u *parity.Upstream)) puppet {
		u := plan()
		f(u)
		return puppet{plan: u}
	}
	for name, test := range map[string]struct {
		subject puppet
		want    []string // parts of the error
		except  []string
	}{
		"the same":      {subject: puppet{plan: plan()}},
		"empty and nil": {subject: change(func(u *parity.Upstream) { u.Routes[0].Hash = []parity.Hash{} })},
		"timeout":       {subject: change(func(u *parity.Upstream) { u.Routes[0].Timeout++ }), want: []string{"plan", "GET /x: decision", "Timeout"}},
		"excepted": {
			subject: change(func(u *parity.Upstream) { u.Routes[0].Timeout++ }), except: []string{"Route.Timeout", "Decision.Timeout"},
		},
		"retry": {subject: change(func(u *parity.Upstream) { u.Routes[0].Retry.Num++ }), want: []string{"plan", "Num"}, except: []string{"Leg.Num"}},
		"a ten thousandth": {
			subject: change(func(u *parity.Upstream) { u.Routes[0].Legs[0].Weight, u.Routes[0].Legs[1].Weight = 10000, 0 }),
			want:    []string{"plan", "Weight", "Share"},
		},
		"draws":     {subject: puppet{plan: plan(), move: 0.01}, want: []string{"drawn leg \"a\""}},
		"no share":  {subject: puppet{plan: plan(), move: 1}, want: []string{`drawn leg "nobody" 100000 times`, `drawn leg "a" 0 times`}},
		"not found": {subject: change(func(u *parity.Upstream) { u.Routes[0].Match.Path.Value = "/y" }), want: []string{"-1"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := parity.Comparison{Requests: []parity.Request{{Path: "/x"}}, Except: exceptions(test.except)}.Run(plan(), test.subject)
			if err == nil {
				if len(test.want) > 0 {
					t.Errorf("no difference, want %q", test.want)
				}
				return
			}
			for _, part := range test.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%v\ndoes not have %q", err, part)
				}
			}
			if len(test.want) == 0 {
				t.Error(err)
			}
		})
	}
}

// nobody is a cluster without anybody to call.
func nobody() parity.Cluster {
	return parity.Cluster{Levels: []parity.Level{{Target: "level", Limits: parity.Limits{Connections: 1, Requests: 1}}}}
}
