package inbound

import (
	"context"

	"github.com/innermesh/innermesh/limit"
	"github.com/innermesh/innermesh/policy"
)

// share bounds what one caller, one value of a header or one priority takes.
type share struct {
	policy.Share

	priority limit.Priority
	shut     *limit.FullError
	places   *limit.Bulkheads // nil is any number
	rates    *limit.Rates     // nil is any
}

func newShare(p policy.Share) share {
	s := share{Share: p}
	s.priority, _ = limit.ParsePriority(p.Priority) // it was checked
	what := "one caller"
	switch {
	case p.Header != "":
		what = "one " + p.Header
	case p.Priority != "":
		what = "priority " + p.Priority
	}
	switch n, bounded := p.Concurrency.Bound(); {
	case bounded && n == 0:
		s.shut = &limit.FullError{Name: what}
	case bounded:
		s.places = limit.NewBulkheads(what, limit.BulkheadOptions{Limit: n}, 0)
	}
	if p.PerSecond > 0 {
		s.rates = limit.NewRates(what, limit.RateOptions{PerSecond: p.PerSecond, Burst: max(p.Burst, 0)}, 0)
	}
	return s
}

// key is what the share of a call is kept under, and whether it has one: calls
// without the header have none.
func (s *share) key(a *Arrival) (key string, has bool) {
	switch {
	case s.Priority != "":
		return "", a.Priority == s.priority
	case s.Header != "":
		key = a.Get(s.Header)
		return key, key != ""
	case a.Peer.Name != "":
		return a.Peer.Name, true
	default:
		return a.host(), true
	}
}

// enter takes one of the share's places.
func (s *share) enter(ctx context.Context, a *Arrival) (limit.Leave, error) {
	if s.places == nil && s.shut == nil {
		return limit.Leave{}, nil
	}
	key, has := s.key(a)
	switch {
	case !has:
		return limit.Leave{}, nil
	case s.shut != nil:
		return limit.Leave{}, s.shut
	default:
		return s.places.Enter(ctx, key)
	}
}

// begin takes a token of the share's rate.
func (s *share) begin(ctx context.Context, a *Arrival) error {
	if s.rates == nil {
		return nil
	}
	key, has := s.key(a)
	if !has {
		return nil
	}
	_, err := s.rates.Enter(ctx, key)
	return err
}
