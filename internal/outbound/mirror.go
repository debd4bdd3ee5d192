package outbound

import (
	"context"
	"crypto/sha256"
	"encoding/base64"

	"github.com/innermesh/innermesh/call"
	"github.com/innermesh/innermesh/internal/mono"
	"github.com/innermesh/innermesh/internal/route"
	"github.com/innermesh/innermesh/internal/telemetry"
	"github.com/innermesh/innermesh/internal/upstream"
)

// Copier is an [Exchange] of which copies can be sent to a mirror. What it is
// asked costs the caller no wait.
type Copier[R any] interface {
	Exchange[R]
	// Expect says, before the first attempt, that a copy with a body of so many
	// bytes at most is wanted. It tells when that can be made.
	Expect(most int) Moment
	// Copy makes a copy that shares nothing with the caller, to live in ctx. There
	// is none if the body has turned out to be longer than most, or was not sent to
	// its end.
	Copy(ctx context.Context, most int) (c Copy[R], ok bool)
}

// Copy is a copy of a call, about to be sent.
type Copy[R any] struct {
	*Flight
	Exchange[R]

	// Context is that of the copy, with what its protocol keeps there.
	Context context.Context //nolint:containedctx // on its way to the flight
}

// Moment is when a call can be copied.
type Moment int

// The moments.
const (
	Never Moment = iota
	Now          // all of it is there
	Later        // its body is copied as it is sent: when its attempts are over
)

// mirrored is carry for a call on a route that has mirrors.
func mirrored[R any](f *Flight, x Exchange[R]) (R, error) {
	var later []*upstream.Mirror
	c, able := x.(Copier[R])
	for _, m := range f.route.Mirrors {
		if f.Mirrored || !m.Draw() { // a copy's calls are not copied again
			continue
		}
		if !able {
			f.leaveOut(m, telemetry.NotCopiedKind)
			continue
		}
		switch c.Expect(m.MaxBytes) {
		case Now:
			reflect(f, m, c)
		case Later:
			later = append(later, m)
		case Never:
			f.leaveOut(m, telemetry.NotCopiedBody)
		}
	}
	r, err := carry(f, x)
	for _, m := range later {
		reflect(f, m, c)
	}
	return r, err
}

// reflect sends a copy of the call beside it, if there is room for one.
func reflect[R any](f *Flight, m *upstream.Mirror, c Copier[R]) {
	if !m.Enter() {
		f.leaveOut(m, telemetry.NotCopiedFull)
		return
	}
	g, ok := c.Copy(telemetry.Detached(f.ctx), m.MaxBytes)
	if !ok {
		m.Leave()
		f.leaveOut(m, telemetry.NotCopiedBody)
		return
	}
	g.become(f, m)
	begun := f.upstream.Go(func(closing context.Context) {
		defer m.Leave()
		ctx, cancel := context.WithTimeout(g.Context, m.Route.Total)
		defer cancel()
		defer context.AfterFunc(closing, cancel)()
		g.ctx = ctx
		sendCopy(g.Flight, g.Exchange)
	})
	if !begun {
		m.Leave()
		f.leaveOut(m, telemetry.NotCopiedClosed)
	}
}

// leaveOut counts a copy that is not sent.
func (f *Flight) leaveOut(m *upstream.Mirror, why string) {
	f.upstream.Telemetry.Mirrored(f.ctx, m.Service, m.Subset, why)
}

// become makes the flight that of a copy of f.
func (f *Flight) become(of *Flight, m *upstream.Mirror) {
	f.copied, f.upstream, f.route, f.to, f.tried = m, of.upstream, m.Route, m.To, f.places[:0]
	f.Options = call.Options{Priority: of.Options.Priority, Affinity: of.Options.Affinity}
	f.RequestID, f.Mirrored, f.WaitForReady = of.RequestID, true, false
}

// sendCopy carries a copy, in one attempt. Its outcome is told to the mirror's
// instances and to telemetry, and to nobody else.
func sendCopy[R any](f *Flight, x Exchange[R]) {
	f.began = mono.Now()
	f.ctx, f.span = f.upstream.Telemetry.StartCall(f.ctx, &f.Call, f.began)
	f.markCopy(f.span)
	if !f.to.Hash.None() {
		f.key, _ = f.to.Hash.Sum(x, route.Origin{Source: f.upstream.Caller(), Affinity: f.Options.Affinity})
	}
	if err := f.ready(); err != nil {
		_ = f.fail(rejected(err))
		return
	}
	if err := f.admit(x); err != nil {
		_ = f.fail(rejected(err))
		return
	}
	if r, err := carry(f, x); err == nil {
		x.Discard(r)
		f.End(call.Outcome{})
	}
}

// markCopy marks a span of a copy.
func (f *Flight) markCopy(span telemetry.Span) {
	if f.copied != nil {
		span.Mirrored()
	}
}

// recordCopy counts a copy that has ended.
func (f *Flight) recordCopy(out call.Outcome) {
	f.upstream.Telemetry.Mirrored(f.ctx, f.copied.Service, f.copied.Subset, out.Reason.String())
}

// CopyKey makes the idempotency key of a copy: always the same for that of the
// call, and never it. A receiver that knows both must take neither for a repeat
// of the other.
func CopyKey(key string) string {
	sum := sha256.Sum256([]byte("mirror\x00" + key))
	return "mirror-" + base64.RawURLEncoding.EncodeToString(sum[:16])
}
