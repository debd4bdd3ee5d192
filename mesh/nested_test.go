package mesh_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"

	"github.com/innermesh/innermesh/call"
	"github.com/innermesh/innermesh/mesh"
	"github.com/innermesh/innermesh/policy"
)

// Two layers of three attempts each make five calls of the lowest, not nine: who
// serves a further attempt does not retry.
func TestOneLayerRetries(t *testing.T) {
	for nested, want := range map[string]int32{policy.Never: 5, policy.Always: 9} {
		t.Run(nested, func(t *testing.T) {
			var leaf atomic.Int32
			p := policy.Service{
				Retry:   policy.Retry{Attempts: 3, Nested: nested, Budget: policy.Budget{Ratio: -1}, Backoff: policy.Backoff{Base: policy.Off}},
				Breaker: policy.Breaker{Failures: -1, FailureRatio: -1}, Ejection: policy.Ejection{Failures: -1},
			}
			lower := counted(&leaf, unavailable)
			middle := newMesh(t, mesh.Options{Discovery: addresses{"leaf": {web(t, lower), web(t, lower), web(t, lower)}}, Defaults: p})
			c := middle.HTTPClient()
			handler := middle.Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				req, err := http.NewRequestWithContext(r.Context(), http.MethodGet, "http://leaf/", nil)
				if err != nil {
					t.Error(err)
					return
				}
				res, err := c.Do(req)
				if err != nil {
					t.Error(err)
					return
				}
				defer func() { _ = res.Body.Close() }()
				w.WriteHeader(res.StatusCode)
			}))
			upper := newMesh(t, mesh.Options{Discovery: addresses{"mid": {web(t, handler.ServeHTTP), web(t, handler.ServeHTTP), web(t, handler.ServeHTTP)}}, Defaults: p})
			res, err := page(t, upper, "http://mid/")
			if err != nil {
				t.Fatal(err)
			}
			read(t, res)
			if leaf.Load() != want {
				t.Errorf("the leaf was called %d times, want %d", leaf.Load(), want)
			}
		})
	}
}

// A gRPC server learns which attempt it serves, over metadata.
func TestGRPCTellsItsAttempt(t *testing.T) {
	var told [2]atomic.Int32
	p := &payments{unary: func(ctx context.Context, n int32) error {
		told[min(n, 2)-1].Store(int32(call.InboundFrom(ctx).Attempt))
		return busyOnce(ctx, n)
	}}
	m := newMesh(t, mesh.Options{Service: "x", Discovery: addresses{}})
	addr, _ := p.start(t, m.GRPCServerOptions()...)
	other, _ := p.start(t, m.GRPCServerOptions()...)
	client := dialled(t, newMesh(t, mesh.Options{Discovery: addresses{"payments": {addr, other}}}))
	_, err := client.UnaryCall(call.With(limited(t), call.Options{Idempotent: true}), new(grpc_testing.SimpleRequest))
	if err != nil || told[0].Load() != 0 || told[1].Load() != 2 {
		t.Errorf("told %d and %d, %v; want nothing, then 2", told[0].Load(), told[1].Load(), err)
	}
}

func TestGRPCStreamTellsItsAttempt(t *testing.T) {
	var last atomic.Int32
	p := &payments{down: func(s grpc.ServerStreamingServer[grpc_testing.StreamingOutputCallResponse], n int32) error {
		last.Store(int32(call.InboundFrom(s.Context()).Attempt))
		return status.Error(codes.Unavailable, "busy")
	}}
	m := newMesh(t, mesh.Options{Discovery: addresses{}})
	a, _ := p.start(t, m.GRPCServerOptions()...)
	b, _ := p.start(t, m.GRPCServerOptions()...)
	client := dialled(t, newMesh(t, mesh.Options{Discovery: addresses{"payments": {a, b}}}))
	s, err := client.StreamingOutputCall(call.With(limited(t), call.Options{Idempotent: true, Attempts: 2}), new(grpc_testing.StreamingOutputCallRequest))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := drain(s); status.Code(err) != codes.Unavailable || last.Load() != 2 {
		t.Errorf("last was attempt %d, %v", last.Load(), err)
	}
}

// The time that is left goes over the wire if the policy says so, and binds who
// serves the request.
func TestHTTPTellsTimeLeft(t *testing.T) {
	for tell, told := range map[string]bool{policy.TellRemaining: true, policy.TellNothing: false} {
		t.Run(tell, func(t *testing.T) {
			left := make(chan time.Duration, 1)
			m := newMesh(t, mesh.Options{Discovery: addresses{}})
			s := httptest.NewServer(m.Middleware(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				at, bounded := r.Context().Deadline()
				if !bounded {
					left <- 0
					return
				}
				left <- time.Until(at)
			})))
			t.Cleanup(s.Close)
			client := newMesh(t, mesh.Options{
				Discovery: addresses{"web": {s.Listener.Addr().String()}},
				Defaults:  policy.Service{Timeout: policy.Timeout{Total: policy.Duration(8 * time.Second), Tell: tell}},
			})
			res, err := page(t, client, "http://web/")
			if err != nil {
				t.Fatal(err)
			}
			read(t, res)
			if got := <-left; (got > 0) != told || got > 4*time.Second {
				t.Errorf("%v left, want at most the try's 4s, told: %v", got, told)
			}
		})
	}
}

// What the first caller has of time binds all behind it: each has what those before
// have left.
func TestTimeLeftGoesThroughTheChain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := mesh.Options{
			Discovery: addresses{"next": {"127.0.0.1:1"}},
			Defaults:  policy.Service{Timeout: policy.Timeout{Tell: policy.TellRemaining}},
		}
		left := make(chan time.Duration, 9)
		pass := func(ctx context.Context, through http.RoundTripper) {
			r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://next/", nil)
			if err != nil {
				t.Fatal(err)
			}
			res, err := through.RoundTrip(r)
			if err != nil {
				t.Error(err)
				return
			}
			read(t, res)
		}
		var chain http.RoundTripper
		for range 3 { // from the last to the first
			m, then := newMesh(t, o), chain
			chain = newMesh(t, o).Transport(apart{handled{m.Middleware(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				left <- remains(r.Context())
				time.Sleep(20 * time.Millisecond)
				if then != nil {
					pass(r.Context(), then)
				}
			}))}})
		}
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		pass(ctx, chain)
		declines(t, left, 20*time.Millisecond)
	})
}

// The same over gRPC, which always tells, and over sockets.
func TestGRPCTimeLeftGoesThroughTheChain(t *testing.T) {
	const unit = 100 * time.Millisecond // the machine may be busy
	left := make(chan time.Duration, 9)
	var then grpc_testing.TestServiceClient
	for range 3 { // from the last to the first
		next := then
		p := &payments{unary: func(ctx context.Context, _ int32) error {
			left <- remains(ctx)
			<-time.After(unit)
			if next == nil {
				return nil
			}
			_, err := next.UnaryCall(ctx, new(grpc_testing.SimpleRequest))
			return err
		}}
		addr, _ := p.start(t, newMesh(t, mesh.Options{Discovery: addresses{}}).GRPCServerOptions()...)
		then = dialled(t, newMesh(t, mesh.Options{Discovery: addresses{"payments": {addr}}}))
	}
	if _, err := then.UnaryCall(limited(t), new(grpc_testing.SimpleRequest)); err != nil { // connects
		t.Fatal(err)
	}
	for len(left) > 0 {
		<-left
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*unit)
	defer cancel()
	if _, err := then.UnaryCall(ctx, new(grpc_testing.SimpleRequest)); err != nil && status.Code(err) != codes.DeadlineExceeded {
		t.Fatal(err) // a machine that is busy may be late, and knows it then
	}
	declines(t, left, unit)
}

// apart is a network: nothing of a request's context crosses it.
type apart struct{ http.RoundTripper }

func (a apart) RoundTrip(r *http.Request) (*http.Response, error) {
	return a.RoundTripper.RoundTrip(r.WithContext(context.Background()))
}

// remains is the time that ctx has left, an hour if that has no bound.
func remains(ctx context.Context) time.Duration {
	at, bounded := ctx.Deadline()
	if !bounded {
		return time.Hour
	}
	return time.Until(at)
}

// declines fails the test unless those of a chain, whose caller had five units of
// time and each of whom takes one, had at most five, four and three left.
func declines(t *testing.T, left chan time.Duration, unit time.Duration) {
	t.Helper()
	if n := len(left); n == 0 || n > 3 {
		t.Errorf("%d were asked", n)
	}
	for most := 5 * unit; len(left) > 0; most -= unit {
		if got := <-left; got > most {
			t.Errorf("%v left, want %v at most", got, most)
		}
	}
}
