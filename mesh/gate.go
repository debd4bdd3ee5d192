package mesh

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/innermesh/innermesh/call"
	"github.com/innermesh/innermesh/inbound"
	"github.com/innermesh/innermesh/inbound/access"
	"github.com/innermesh/innermesh/inbound/audit"
	"github.com/innermesh/innermesh/inbound/caller"
	"github.com/innermesh/innermesh/inbound/intention"
	"github.com/innermesh/innermesh/internal/telemetry"
	"github.com/innermesh/innermesh/tlsutil"
)

// gate finds out who calls, whether it may, and records that. It is the
// Identifier and the Authorizer of the path in.
type gate struct {
	m          *Mesh
	o          AccessOptions
	mode       AccessMode
	anonymous  bool
	identifier *caller.Identifier
	audit      *audit.Log // nil: nothing is recorded
	access     atomic.Pointer[access.Access]
	decided    sync.Map // decided to *atomic.Uint64
	denied     denials  // for the live page
}

// decided is what is counted apart.
type decided struct{ result, reason string }

// open begins to follow the intentions.
func (g *gate) open() error {
	if g.mode == AccessOff {
		return nil
	}
	o := access.Options{
		Service: g.m.o.Service, Client: g.m.consul, Source: g.m.identity, Default: g.o.Default,
		OpenWithoutRules: g.o.OpenWithoutRules, DryRun: g.mode == AccessDryRun, Paths: g.o.paths(),
		Changed: g.changed, Logger: g.m.log,
	}
	if g.m.store != nil {
		o.Store = g.m.store
	}
	a, err := access.New(o)
	if err != nil {
		return err
	}
	g.access.Store(a)
	g.m.onClose(func(context.Context) error { a.Close(); return nil })
	return nil
}

// changed closes the connections of those who may have none any more.
func (g *gate) changed() {
	a := g.access.Load()
	if a == nil {
		return // it is about to be there, and nobody was let in yet
	}
	n := g.m.pathIn.connections.Cut(func(who caller.Caller) bool {
		_, may := a.DecideConnection(who)
		return may
	})
	if n > 0 {
		g.m.log.Warn("connections of callers whom the intentions no longer allow are closed", "connections", n)
	}
}

// Identify implements [inbound.Identifier].
func (g *gate) Identify(ctx context.Context, a *inbound.Arrival) (inbound.Peer, error) {
	who, err := g.identifier.Identify(a.TLS, a.Header)
	if errors.Is(err, caller.ErrForwarded) {
		g.record(ctx, a, Caller{}, decided{"deny", "forwarded"}, intention.Decision{}, err.Error())
		return inbound.Peer{}, err
	}
	if err != nil {
		who = Caller{} // whoever has let it in, nothing is proven
	}
	if !g.identifier.Trusted(who) && a.Get(caller.Header) != "" {
		header := maps.Clone(a.Header)
		for name := range header {
			if strings.EqualFold(name, caller.Header) {
				delete(header, name)
			}
		}
		a.Rewrite(header)
	}
	return inbound.Peer{Name: who.String(), Service: who.ServiceID, ID: who.ID, Via: who.Via}, nil
}

// Authorize implements [inbound.Authorizer].
func (g *gate) Authorize(ctx context.Context, a *inbound.Arrival) (inbound.Decision, error) {
	who := of(a.Peer)
	switch {
	case g.mode == AccessOff:
		g.record(ctx, a, who, decided{"allow", "off"}, intention.Decision{Allowed: true}, "")
		return inbound.Decision{Allowed: true}, nil
	case who.IsZero() && g.anonymous:
		g.count(decided{"allow", "anonymous"})
		g.record(ctx, a, who, decided{"allow", "anonymous"}, intention.Decision{Allowed: true}, "")
		return inbound.Decision{Allowed: true}, nil
	}
	judge := g.access.Load()
	if judge == nil {
		return inbound.Decision{}, errNotOpen
	}
	g.m.pathIn.connections.Called(a.Remote, shown(who))
	return g.judge(ctx, judge, a, who), nil
}

func (g *gate) judge(ctx context.Context, judge *access.Access, a *inbound.Arrival, who Caller) inbound.Decision {
	req := intention.Request{Method: a.Method, Host: a.Host, Path: a.Path, Header: a.Header, Literal: a.Protocol == call.GRPC}
	if req.Literal {
		req.Method = http.MethodPost
	}
	tokens := judge.Tokens(ctx, a.Header, a.Query)
	if tokens != nil {
		req.Tokens = tokens
	}
	d := judge.Decide(ctx, who, &req)
	if d.Admit() {
		if !req.Literal && d.Path != a.Path {
			a.Path = (&url.URL{Path: d.Path}).EscapedPath()
		}
		if tokens != nil && tokens.Guarded() {
			header, spell := maps.Clone(a.Header), http.CanonicalHeaderKey
			if req.Literal {
				spell = strings.ToLower
			}
			tokens.Change(header, spell)
			a.Rewrite(header)
			a.Query = tokens.Query()
		}
		if d.Provider != "" {
			a.Peer.Claims, _ = tokens.Claims(d.Provider) // it was good a moment ago, and is remembered
		}
	}
	out := inbound.Decision{Allowed: d.Allowed, DryRun: d.DryRun, Unauthenticated: d.Unauthenticated()}
	if !d.Allowed {
		if out.Why = d.String(); d.Token != nil {
			out.Why += ": " + d.Token.Error()
		}
	}
	of := decided{"allow", string(d.Reason)}
	switch {
	case !d.Allowed && d.DryRun:
		of.result = "dry_run"
	case !d.Allowed:
		of.result = "deny"
	}
	if !d.Allowed {
		g.denied.add(denial{time.Now(), cmp.Or(who.String(), "somebody unknown"), a.Method, out.Why, d.DryRun})
	}
	g.count(of)
	g.record(ctx, a, who, of, d, "")
	return out
}

// record keeps it. why is what there is to say without a rule.
func (g *gate) record(ctx context.Context, a *inbound.Arrival, who Caller, of decided, d intention.Decision, why string) {
	if g.audit == nil || !g.audit.Wants(d.Allowed) {
		return
	}
	r := audit.Record{
		Allowed: d.Allowed, DryRun: d.DryRun, Caller: who.String(), Via: who.Via.String(), Service: g.m.o.Service,
		Protocol: a.Protocol.String(), Method: a.Method, Path: a.Path, Reason: of.reason, Rule: why,
		TraceID: telemetry.TraceID(ctx), RequestID: a.Inbound.RequestID, Remote: a.Remote,
	}
	if a.Protocol == call.GRPC {
		r.Method = ""
	}
	if d.Path != "" {
		r.Path = d.Path
	}
	if d.Intention != nil {
		r.Rule = d.Rule()
	}
	if d.Token != nil {
		r.Rule = strings.TrimPrefix(r.Rule+": "+d.Token.Error(), ": ")
	}
	g.audit.Record(r)
}

func (g *gate) count(d decided) {
	n, ok := g.decided.Load(d)
	if !ok {
		n, _ = g.decided.LoadOrStore(d, new(atomic.Uint64))
	}
	n.(*atomic.Uint64).Add(1)
}

func (g *gate) observe(to telemetry.Access) {
	g.decided.Range(func(k, n any) bool {
		d := k.(decided)
		to.Decided(d.result, strings.ReplaceAll(d.reason, " ", "_"), n.(*atomic.Uint64).Load())
		return true
	})
	if g.audit != nil {
		to.Lost(g.audit.Dropped())
	}
}

// shown is who has shown the certificate of the connection.
func shown(who Caller) Caller {
	if who.Via.IsZero() {
		return who
	}
	service, err := who.Via.Service()
	if err != nil {
		service = tlsutil.ServiceID{}
	}
	return Caller{ServiceID: service, ID: who.Via}
}
