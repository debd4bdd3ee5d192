package inbound

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/innermesh/innermesh/internal/mono"
	"github.com/innermesh/innermesh/internal/telemetry"
	"github.com/innermesh/innermesh/policy"
)

// Options are what a [Server] is made of. The zero value serves everybody without
// limits.
type Options struct {
	// Identifier says who calls. Default: nobody knows.
	Identifier Identifier
	// Authorizer says who may. Default: everybody.
	Authorizer Authorizer
	// Auditor hears of every end. Default: nobody does.
	Auditor Auditor
	// Telemetry records calls. Default: nobody does.
	Telemetry *telemetry.Server
	// Logger hears of handlers that panic. Default: slog.Default().
	Logger *slog.Logger
}

// Server is the path that all calls to this program take. It is safe for
// concurrent use.
type Server struct {
	o        Options
	limits   atomic.Pointer[limits]
	loads    [mostLoad*hundredth + 1]string
	inflight atomic.Int64
	panics   panics
}

// New returns a server that goes by the built-in policy.
func New(o Options) *Server {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	s := &Server{o: o, loads: loadTexts()}
	s.Apply(policy.Default().Inbound)
	return s
}

// Apply puts a policy in force for calls that come from now on. It must be valid
// and say every field. What it leaves as it was goes on, with who is under way.
func (s *Server) Apply(p policy.Inbound) {
	for {
		old := s.limits.Load()
		if s.limits.CompareAndSwap(old, newLimits(p, old)) {
			return
		}
	}
}

// Enter carries a call from its facts to its handler, whose context it returns.
// Top to bottom is the contract; the comment beside each step says why it stands
// there.
//
// An error is always a [*RefusedError], and the call has ended. Else exactly one
// [Server.Leave] must follow.
func (s *Server) Enter(ctx context.Context, a *Arrival) (context.Context, error) {
	ctx = s.begin(ctx, a)                      // first: what follows is told of
	limits := s.limits.Load()                  // once: the call sees one policy
	if err := s.identify(ctx, a); err != nil { // before the limits: they are by caller
		return ctx, s.refuse(ctx, a, err)
	}
	s.clock(a)                                         // before the limits: waiting in line costs the caller's time
	if err := limits.enough(a.Remaining); err != nil { // before the limits: a place for nothing
		return ctx, s.refuse(ctx, a, err)
	}
	if err := limits.admit(ctx, a); err != nil { // before the authorizer: what is shed must be cheapest
		return ctx, s.refuse(ctx, a, refused(err, TooLate))
	}
	if err := s.authorize(ctx, a); err != nil { // last: it may wait for others
		return ctx, s.refuse(ctx, a, err)
	}
	return ctx, nil
}

// Leave ends a call that was served.
func (s *Server) Leave(a *Arrival, e Ending) {
	s.end(&a.within, a, e)
}

// Answered tells that the handler has begun to answer a call that may go on for
// long: from then on it takes no share of what the program can carry.
func (s *Server) Answered(a *Arrival) { a.admission.answered() }

// Inflight returns how many calls are under way.
func (s *Server) Inflight() int { return int(s.inflight.Load()) }

// begin notes what the call tells about itself.
func (s *Server) begin(ctx context.Context, a *Arrival) context.Context {
	a.Began = mono.Now()
	s.inflight.Add(1)
	a.read()
	ctx, a.span = s.o.Telemetry.Start(ctx, telemetry.Arrived{Protocol: a.Protocol, Method: a.Method, Header: (*carrier)(a)}, a.Began)
	a.within = serving{Context: ctx, a: a}
	return &a.within
}

func (s *Server) identify(ctx context.Context, a *Arrival) (err error) {
	if s.o.Identifier == nil {
		return nil
	}
	if a.Peer, err = s.o.Identifier.Identify(ctx, a); err != nil {
		return refused(err, Unauthenticated)
	}
	return nil
}

// clock bounds the handler by the time that the caller waits.
func (s *Server) clock(a *Arrival) {
	if a.Remaining <= 0 {
		return
	}
	end := time.Now().Add(a.Remaining)
	if at, ok := a.within.Deadline(); ok && !at.After(end) {
		return // gRPC has done it
	}
	a.within.Context, a.cancel = context.WithDeadline(a.within.Context, end) //nolint:fatcontext // once for each call
}

func (s *Server) authorize(ctx context.Context, a *Arrival) (err error) {
	if s.o.Authorizer == nil {
		return nil
	}
	if a.decision, err = s.o.Authorizer.Authorize(ctx, a); err != nil {
		return refused(err, Denied)
	}
	switch d := &a.decision; {
	case d.Allowed, d.DryRun:
		return nil
	case d.Unauthenticated:
		return &RefusedError{Reason: Unauthenticated, Err: errors.New(d.Why)}
	default:
		return &RefusedError{Reason: Denied, Err: errors.New(d.Why)}
	}
}

// refuse ends a call that is turned away.
func (s *Server) refuse(ctx context.Context, a *Arrival, err error) error {
	e := refused(err, Denied)
	s.end(ctx, a, e.ending(a.Protocol))
	return e
}

// end gives back what the call has taken, and tells.
func (s *Server) end(ctx context.Context, a *Arrival, e Ending) {
	now := mono.Now()
	e.Took, e.Decision = now-a.Began, a.decision
	a.admission.done(now, e)
	s.inflight.Add(-1)
	told := telemetry.Served{Protocol: a.Protocol, Method: a.Method, Route: e.Route, Status: e.Status, Took: e.Took,
		Path: a.Path, Peer: a.Peer.Name, RequestID: a.Inbound.RequestID}
	if e.Refused != nil {
		told.Refused = string(e.Refused.Reason)
	}
	s.o.Telemetry.End(ctx, a.span, told)
	if s.o.Auditor != nil {
		s.o.Auditor.Audit(ctx, a, e)
	}
	if a.cancel != nil {
		a.cancel()
	}
}

// Panicked logs that the handler of a call has panicked, with the stack; of many
// in a row it logs the first ones, and then how many there were.
func (s *Server) Panicked(ctx context.Context, a *Arrival, value any, stack []byte) {
	untold, tell := s.panics.tell(mono.Now())
	if !tell {
		return
	}
	log := s.o.Logger
	if untold > 0 {
		log = log.With("before_untold", untold)
	}
	log.ErrorContext(ctx, "handler panicked", "method", a.Method, "path", a.Path, "peer", a.Peer.Name,
		"request_id", a.Inbound.RequestID, "panic", fmt.Sprint(value), "stack", string(stack))
}
