package outbound_test

import (
	"context"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/innermesh/innermesh/call"
	"github.com/innermesh/innermesh/discovery"
	"github.com/innermesh/innermesh/internal/outbound"
	"github.com/innermesh/innermesh/internal/route"
	"github.com/innermesh/innermesh/internal/telemetry"
	"github.com/innermesh/innermesh/internal/upstream"
	"github.com/innermesh/innermesh/policy"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// exchange is a protocol whose attempts end as the test says.
type exchange struct {
	outbound.Flight
	// each is what an attempt does; its answer is its number.
	each func(a *outbound.Attempt) call.Outcome

	asked     []string // instances, in order
	discarded []int
}

// Send implements [outbound.Exchange].
func (x *exchange) Send(a *outbound.Attempt) (int, call.Outcome) {
	x.asked = append(x.asked, a.Member().ID)
	return a.Number, x.each(a)
}

// Discard implements [outbound.Exchange].
func (x *exchange) Discard(n int) { x.discarded = append(x.discarded, n) }

// Line, HeaderValue and QueryValue implement [route.Request].

// Line is that of a call to the root.
func (x *exchange) Line() (method, path string) { return x.Method, "/" }

// HeaderValue finds none.
func (x *exchange) HeaderValue(route.Name) (value string, ok bool) { return "", false }

// QueryValue finds none.
func (x *exchange) QueryValue(string) (value string, ok bool) { return "", false }

// Keyed says that there is no key, and needs one if the call is not idempotent.
func (x *exchange) Keyed() (given, needless bool) { return false, x.Idempotent }

// newExchange is a call that can be repeated without harm.
func newExchange(each func(a *outbound.Attempt) call.Outcome) *exchange {
	x := &exchange{each: each}
	x.Service, x.Protocol, x.Method = "web", call.HTTP, "GET"
	x.Idempotent, x.Replayable = true, true
	return x
}

// always ends each attempt alike.
func always(out call.Outcome) func(*outbound.Attempt) call.Outcome {
	return func(*outbound.Attempt) call.Outcome { return out }
}

// hang ends an attempt with its time, as a protocol does.
func hang(a *outbound.Attempt) call.Outcome {
	<-a.Done()
	return call.Outcome{Reason: call.Reset, Sent: call.SentUnknown, Err: a.Err()}
}

// within runs f in a bubble, with a directory of the service web.
func within(t *testing.T, p policy.Service, f func(t *testing.T, d *upstream.Directory), ids ...string) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		registry := new(discovery.Memory)
		var all []discovery.Instance
		for _, id := range ids {
			all = append(all, discovery.Instance{ID: id, Address: id + ":80"})
		}
		if err := registry.Set("web", all...); err != nil {
			t.Fatal(err)
		}
		f(t, directory(t, registry, p))
	})
}

func directory(t *testing.T, source discovery.Source, p policy.Service) *upstream.Directory {
	t.Helper()
	tel, err := telemetry.New(telemetry.Options{}, "test")
	if err != nil {
		t.Fatal(err)
	}
	effective := policy.Merge(policy.Layer{Service: policy.Default()}, policy.Layer{Service: p})
	d := upstream.NewDirectory(upstream.Options{
		Source: source, Telemetry: tel, Logger: slog.New(slog.DiscardHandler),
		Provisional: func(string) policy.Effective { return effective },
		Follow: func(u *upstream.Upstream) {
			if err := u.Apply(effective); err != nil {
				t.Error(err)
			}
		},
	})
	t.Cleanup(d.Close)
	return d
}

// do carries the call and ends it, should it be answered.
func do(ctx context.Context, d *upstream.Directory, x *exchange) (int, error) {
	n, err := outbound.Do(ctx, d, &x.Flight, x)
	if err == nil {
		x.End(call.Outcome{})
	}
	return n, err
}

// inflight counts the attempts that have not been given back.
func inflight(d *upstream.Directory) (n int) {
	for _, c := range d.All() {
		n += c.Inflight()
	}
	return n
}

// timeout is a policy that differs only in its times.
func timeout(total, perTry time.Duration) policy.Service {
	return policy.Service{Timeout: policy.Timeout{Total: policy.Duration(total), PerTry: policy.Duration(perTry)}}
}
