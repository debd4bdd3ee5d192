package inbound_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/innermesh/innermesh/call"
	"github.com/innermesh/innermesh/inbound"
	"github.com/innermesh/innermesh/policy"
)

// served is the built-in policy with some of it changed.
func served(change policy.Inbound) policy.Inbound {
	return policy.Merge(policy.Layer{Name: "built-in", Service: policy.Default()},
		policy.Layer{Name: "test", Service: policy.Service{Inbound: change}}).Inbound
}

func with(t *testing.T, o inbound.Options, p policy.Inbound) *inbound.Server {
	t.Helper()
	s := inbound.New(o)
	s.Apply(served(p))
	return s
}

func get(header ...string) *inbound.Arrival {
	a := &inbound.Arrival{Protocol: call.HTTP, Method: http.MethodGet, Path: "/", Remote: "10.0.0.1:1234", Header: http.Header{}}
	for i := 0; i < len(header); i += 2 {
		http.Header(a.Header).Add(header[i], header[i+1])
	}
	return a
}

func reason(err error) inbound.Reason {
	if e, ok := errors.AsType[*inbound.RefusedError](err); ok {
		return e.Reason
	}
	return ""
}

// steps says whom it was asked for, in order.
type steps struct {
	seen   []string
	peer   error
	answer inbound.Decision
	fault  error
	ending inbound.Ending
}

func (s *steps) Identify(context.Context, *inbound.Arrival) (inbound.Peer, error) {
	s.seen = append(s.seen, "identify")
	return inbound.Peer{Name: "somebody"}, s.peer
}

func (s *steps) Authorize(_ context.Context, a *inbound.Arrival) (inbound.Decision, error) {
	s.seen = append(s.seen, "authorize "+a.Peer.Name)
	return s.answer, s.fault
}

func (s *steps) Audit(_ context.Context, _ *inbound.Arrival, e inbound.Ending) {
	s.seen = append(s.seen, "audit")
	s.ending = e
}

// The steps are taken in their order, and each can turn a call away; every end is
// audited once.
func TestEnterGoesStepByStep(t *testing.T) {
	odd := errors.New("odd")
	tests := map[string]struct {
		steps  steps
		policy policy.Inbound
		header []string
		want   inbound.Reason
		status int
		seen   int
	}{
		"all well":            {steps{answer: inbound.Decision{Allowed: true}}, policy.Inbound{}, nil, "", 200, 3},
		"only told":           {steps{answer: inbound.Decision{DryRun: true}}, policy.Inbound{}, nil, "", 200, 3},
		"not identified":      {steps{peer: odd}, policy.Inbound{}, nil, inbound.Unauthenticated, 401, 2},
		"too late":            {steps{}, policy.Inbound{}, []string{inbound.LeftHeader, "1"}, inbound.TooLate, 504, 2},
		"no place":            {steps{}, policy.Inbound{Concurrency: policy.None}, nil, inbound.Full, 503, 2},
		"denied":              {steps{}, policy.Inbound{}, nil, inbound.Denied, 403, 3},
		"not known who":       {steps{answer: inbound.Decision{Unauthenticated: true}}, policy.Inbound{}, nil, inbound.Unauthenticated, 401, 3},
		"not known whether":   {steps{answer: inbound.Decision{Allowed: true}, fault: odd}, policy.Inbound{}, nil, inbound.Denied, 403, 3},
		"refused in own word": {steps{fault: &inbound.RefusedError{Reason: inbound.Leaving}}, policy.Inbound{}, nil, inbound.Leaving, 503, 3},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			steps := &test.steps
			s := with(t, inbound.Options{Identifier: steps, Authorizer: steps, Auditor: steps}, test.policy)
			a := get(test.header...)
			ctx, err := s.Enter(t.Context(), a)
			if err == nil {
				if s.Inflight() != 1 || inbound.ArrivalFrom(ctx) != a {
					t.Errorf("%d under way, the context knows %p", s.Inflight(), inbound.ArrivalFrom(ctx))
				}
				s.Leave(a, inbound.Ending{Status: 200})
			}
			if reason(err) != test.want || steps.ending.Status != test.status || len(steps.seen) != test.seen || s.Inflight() != 0 {
				t.Errorf("%v, ended with %+v after %q, %d under way", err, steps.ending, steps.seen, s.Inflight())
			}
			if (steps.ending.Refused != nil) != (err != nil) {
				t.Errorf("audited as %+v", steps.ending)
			}
		})
	}
}

// The context ends with the caller's time, and has what the call has told.
func TestEnterSetsTheClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := inbound.New(inbound.Options{})
		a := get(inbound.LeftHeader, "250", call.PriorityHeader, "critical", call.AttemptHeader, "2", call.RequestIDHeader, "abc-1")
		began := time.Now()
		ctx, err := s.Enter(t.Context(), a)
		if err != nil {
			t.Fatal(err)
		}
		if in := call.InboundFrom(ctx); in != (call.Inbound{Attempt: 2, Priority: "critical", RequestID: "abc-1"}) {
			t.Errorf("told %+v", in)
		}
		<-ctx.Done()
		if took := time.Since(began); took != 250*time.Millisecond || !errors.Is(ctx.Err(), context.DeadlineExceeded) {
			t.Errorf("ended after %v with %v", took, ctx.Err())
		}
		s.Leave(a, inbound.Ending{Status: 200})
	})
}

// An ID that is odd is replaced, so that nobody writes into our logs.
func TestRequestIDs(t *testing.T) {
	s := inbound.New(inbound.Options{})
	seen := map[string]bool{}
	for _, said := range []string{"", "with space", "line\nbreak", `"quoted"`, string(make([]byte, 200))} {
		a := get()
		a.Header["X-Request-Id"] = []string{said}
		if _, err := s.Enter(t.Context(), a); err != nil {
			t.Fatal(err)
		}
		id := a.Inbound.RequestID
		if len(id) != 32 || seen[id] {
			t.Errorf("for %q the ID is %q", said, id)
		}
		seen[id] = true
		s.Leave(a, inbound.Ending{Status: 200})
	}
}

// Names are looked up as the protocol spells them.
func TestArrivalGet(t *testing.T) {
	for _, name := range []string{
		call.AttemptHeader, call.PriorityHeader, call.RequestIDHeader, inbound.LeftHeader, "traceparent", "tracestate", "baggage", "x-tenant", "X-Tenant",
	} {
		web := get(name, "v")
		wire := &inbound.Arrival{Protocol: call.GRPC, Header: map[string][]string{strings.ToLower(name): {"v"}}}
		if web.Get(name) != "v" || wire.Get(name) != "v" || web.Get("other") != "" {
			t.Errorf("%s: %q and %q", name, web.Get(name), wire.Get(name))
		}
	}
}
