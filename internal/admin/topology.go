package admin

import (
	"cmp"
	"context"
	"net/url"
	"slices"
)

// topologyBody is the page of who calls whom.
type topologyBody struct {
	Graph
	// Self is this process's service, CanMesh says that more can be known.
	Self    string `json:"self"`
	CanMesh bool   `json:"-"`
}

// readable is how many edges are shown: more than that nobody reads. Those that
// carry most, and those in trouble, go first.
const readable = 120

func buildTopology(ctx context.Context, p *Page, q url.Values) (any, error) {
	b := &topologyBody{Self: p.o.Process().Service, CanMesh: p.o.Mesh != nil}
	b.Scope = "process"
	if p.o.Mesh != nil && q.Get("scope") != "process" {
		edges, err := p.o.Mesh(ctx)
		if err == nil {
			b.Scope, b.Edges = "mesh", edges
		} else {
			b.Problem = err.Error()
		}
	}
	if b.Scope == "process" {
		for _, s := range p.summaries() {
			b.Edges = append(b.Edges, Edge{From: b.Self, To: s.Service, Figures: s.Figures, Tone: s.Tone})
		}
	}
	for i := range b.Edges {
		b.Edges[i].judge()
	}
	slices.SortStableFunc(b.Edges, func(a, b Edge) int {
		return cmp.Or(cmp.Compare(b.Tone.weight(), a.Tone.weight()), cmp.Compare(b.Rate, a.Rate))
	})
	if n := len(b.Edges); n > readable {
		b.Edges, b.Left = b.Edges[:readable:readable], n-readable
	}
	slices.SortFunc(b.Edges, func(a, b Edge) int { return cmp.Or(cmp.Compare(a.From, b.From), cmp.Compare(a.To, b.To)) })
	return b, nil
}

// judge says how good an edge is, if nobody has said so.
func (e *Edge) judge() {
	switch {
	case e.Tone != "":
	case e.Rate == 0:
		e.Tone = Idle
	case e.Errors >= alarming && e.Rate*e.Errors >= alarmingRate:
		e.Tone = Bad
	case e.Errors >= alarming/5:
		e.Tone = Warn
	default:
		e.Tone = OK
	}
}
