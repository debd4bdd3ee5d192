package parity_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/innermesh/innermesh/internal/parity"
)

// dealer is a subject whose calls go where it is told, one after the other.
type dealer struct {
	puppet

	first, retries []parity.Drawn
	dealt          [2]int
}

func (d *dealer) Draw(_ parity.Request, retry bool) (parity.Drawn, error) {
	list, n := d.first, &d.dealt[0]
	if retry {
		list, n = d.retries, &d.dealt[1]
	}
	*n++
	return list[*n%len(list)], nil
}

// levels is a plan with failover: half of the first level is healthy.
func levels(balancer string, next bool) *parity.Upstream {
	u := plan()
	u.Routes[0].Legs = []parity.Leg{{Target: "a", Weight: 10000}}
	u.Routes[0].Retry.NextLevel = next
	u.Routes[0].Hash = []parity.Hash{{By: "header", Name: "x-user"}}
	u.Clusters = map[string]parity.Cluster{"a": {Levels: []parity.Level{
		{Target: "a", Limits: parity.Limits{Connections: 1, Requests: 1}, Balancer: parity.Balancer{Policy: balancer}, Endpoints: []parity.Endpoint{
			{Address: "a1", Weight: 1, Healthy: true}, {Address: "a2", Weight: 3, Healthy: true}, {Address: "a3"}, {Address: "a4"},
		}},
		{Target: "b", Endpoints: []parity.Endpoint{{Address: "b1", Weight: 1, Healthy: true}}},
	}}}
	return u
}

func TestDraws(t *testing.T) {
	t.Parallel()
	at := func(level, address string) parity.Drawn {
		return parity.Drawn{Leg: "a", Level: level, Address: address}
	}
	// calls to addresses, of which a level has the first letter.
	calls := func(addresses ...string) (list []parity.Drawn) {
		for _, address := range addresses {
			list = append(list, at(address[:1], address))
		}
		return list
	}
	after := func(before string, calls []parity.Drawn) (list []parity.Drawn) {
		for _, c := range calls {
			c.Before = before
			list = append(list, c)
		}
		return list
	}
	even := calls("a1", "a2", "a1", "a2", "a1", "a2", "a1", "b1", "b1", "b1")
	for name, test := range map[string]struct {
		balancer       string
		next           bool
		first, retries []parity.Drawn
		want           string // of the error; empty: none
	}{
		"well":           {first: even, retries: even},
		"wrong levels":   {first: calls("a1", "a2", "b1"), retries: even, want: `level "b"`},
		"wrong retries":  {first: even, retries: after("a", calls("b1")), want: `level "a" 0 times`},
		"next level":     {next: true, first: even, retries: after("a", calls("b1"))},
		"same level":     {next: true, first: even, retries: after("a", calls("a1")), want: "stayed on the level a"},
		"not healthy":    {first: append(calls("a3"), even...), retries: even, want: "a3, which is no healthy instance"},
		"one left out":   {first: calls("a1", "a1", "a1", "a1", "a1", "a1", "a1", "b1", "b1", "b1"), retries: even, want: "no call of 14000 to a2"},
		"not by weight":  {balancer: "random", first: even, retries: even, want: `instance "a1"`},
		"not by key":     {balancer: "maglev", first: even, retries: even, want: "one key to several"},
		"nobody, but is": {first: []parity.Drawn{{Leg: "a"}}, retries: even, want: `level "" `},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := &dealer{puppet: puppet{plan: levels(test.balancer, test.next)}, first: test.first, retries: test.retries}
			request := parity.Request{Path: "/x", Header: map[string][]string{"X-User": {"7"}}}
			err := parity.Comparison{Requests: []parity.Request{request}}.Run(d.plan, d)
			if text := fmt.Sprint(err); err == nil != (test.want == "") || !strings.Contains(text, test.want) {
				t.Errorf("got %v, want an error with %q", err, test.want)
			}
		})
	}
}
