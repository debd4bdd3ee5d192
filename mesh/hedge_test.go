package mesh_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/innermesh/innermesh/call"
	"github.com/innermesh/innermesh/mesh"
	"github.com/innermesh/innermesh/policy"
)

// hedging sends calls to a second instance after a moment.
func hedging(after time.Duration) policy.Service {
	return policy.Service{
		Hedge: policy.Hedge{After: policy.Duration(after)},
		Retry: policy.Retry{Budget: policy.Budget{Ratio: -1}}, Balancer: policy.Balancer{Policy: policy.RoundRobin},
	}
}

// held is an instance that does not answer until it is released, and tells when
// its caller has gone.
type held struct {
	release, gone chan struct{}
	asked         atomic.Int32
}

func newHeld() *held { return &held{release: make(chan struct{}), gone: make(chan struct{}, 100)} }

func (h *held) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	h.asked.Add(1)
	select {
	case <-h.release:
	case <-r.Context().Done():
		h.gone <- struct{}{}
	}
}

// The call is answered by the second instance, and the first is given up at once;
// nothing of it is left.
func TestHTTPHedge(t *testing.T) {
	for _, protocol := range []string{policy.HTTP1, policy.HTTP2} {
		t.Run(protocol, func(t *testing.T) {
			start := web
			if protocol == policy.HTTP2 {
				start = h2cWeb
			}
			slow := newHeld()
			p := hedging(5 * time.Millisecond)
			p.HTTP.Protocol = protocol
			m := newMesh(t, mesh.Options{Defaults: p, Discovery: addresses{"web": {start(t, slow.ServeHTTP), start(t, echo("quick"))}}})
			c := m.HTTPClient()
			for range 8 {
				res, err := c.Do(request(t, http.MethodPut, "http://web/x", strings.NewReader("body")))
				if err != nil {
					t.Fatal(err)
				}
				if text := read(t, res); !strings.Contains(text, "quick") {
					t.Errorf("got %q", text)
				}
			}
			for range slow.asked.Load() {
				<-slow.gone
			}
			if slow.asked.Load() == 0 || failures(m) != 0 {
				t.Errorf("the slow one was asked %d times, %d failures", slow.asked.Load(), failures(m))
			}
			if err := m.Close(t.Context()); err != nil { // waits for those that were given up
				t.Error(err)
			}
			if n := inflight(m); n != 0 {
				t.Errorf("%d attempts are still under way", n)
			}
		})
	}
}

// What is not safe to repeat, or can not be, is sent once.
func TestHTTPHedgesOnlyWhatIsSafe(t *testing.T) {
	for name, c := range map[string]struct {
		method, key string
		body        io.Reader
		o           call.Options
		hedged      bool
	}{
		"GET":              {method: http.MethodGet, hedged: true},
		"POST":             {method: http.MethodPost, body: strings.NewReader("x")},
		"POST with a key":  {method: http.MethodPost, key: "k", body: strings.NewReader("x"), hedged: true},
		"POST by option":   {method: http.MethodPost, o: call.Options{Idempotent: true}, hedged: true},
		"GET, one attempt": {method: http.MethodGet, o: call.Options{Attempts: 1}},
		"PUT of a stream":  {method: http.MethodPut, body: watch("x")},
	} {
		t.Run(name, func(t *testing.T) {
			all := newHeld()
			m := newMesh(t, mesh.Options{Defaults: hedging(time.Millisecond), Discovery: addresses{"web": {web(t, all.ServeHTTP), web(t, all.ServeHTTP)}}})
			r := request(t, c.method, "http://web/", c.body)
			if c.key != "" {
				r.Header.Set("Idempotency-Key", c.key)
			}
			ctx, cancel := context.WithTimeout(call.With(r.Context(), c.o), 300*time.Millisecond)
			defer cancel()
			go func() { // as soon as it is known
				if c.hedged {
					eventually(t, 5*time.Second, "two attempts", func() bool { return all.asked.Load() == 2 })
				} else {
					<-ctx.Done()
				}
				close(all.release)
			}()
			res, err := m.HTTPClient().Do(r.WithContext(ctx))
			if err == nil {
				read(t, res)
			}
			want := int32(1)
			if c.hedged {
				want = 2
			}
			if n := all.asked.Load(); n != want {
				t.Errorf("sent %d times, want %d", n, want)
			}
		})
	}
}

// discards is a base that tells when the body of a 503 is closed.
type discards struct {
	http.RoundTripper
	closed chan struct{}
}

func (d *discards) RoundTrip(r *http.Request) (*http.Response, error) {
	res, err := d.RoundTripper.RoundTrip(r)
	if err == nil && res.StatusCode == http.StatusServiceUnavailable {
		res.Body = &closing{res.Body, sync.OnceFunc(func() { d.closed <- struct{}{} })}
	}
	return res, err
}

// An answer that would be tried again does not win as long as another is awaited;
// its body is closed.
func TestHTTPHedgeWaitsForABetterAnswer(t *testing.T) {
	own := &http.Transport{}
	t.Cleanup(own.CloseIdleConnections)
	base := &discards{own, make(chan struct{})}
	var n atomic.Int32
	h := func(w http.ResponseWriter, r *http.Request) {
		if n.Add(1)%2 == 0 {
			unavailable(w, r)
			return
		}
		select { // the first answers when nothing is left of the second
		case <-base.closed:
			ok(w, r)
		case <-r.Context().Done():
		}
	}
	p := hedging(time.Millisecond)
	p.Breaker = policy.Breaker{Failures: -1, FailureRatio: -1}
	m := newMesh(t, mesh.Options{Defaults: p, Discovery: addresses{"web": {web(t, h), web(t, h)}}})
	c := &http.Client{Transport: m.Transport(base)}
	for range 4 {
		res, err := c.Do(request(t, http.MethodGet, "http://web/", nil))
		if err != nil {
			t.Fatal(err)
		}
		if text := read(t, res); text != "ok" {
			t.Errorf("got %d %q", res.StatusCode, text)
		}
	}
	if n.Load() != 8 {
		t.Errorf("%d attempts for 4 calls", n.Load())
	}
}

// Hedges draw on the budget of retries.
func TestHedgesAreBudgeted(t *testing.T) {
	var n atomic.Int32
	gate := make(chan struct{})
	h := counted(&n, func(http.ResponseWriter, *http.Request) { <-gate })
	p := hedging(time.Millisecond)
	p.Retry.Budget = policy.Budget{Ratio: 0.1, Floor: -1}
	m := newMesh(t, mesh.Options{Defaults: p, Discovery: addresses{"web": {web(t, h), web(t, h), web(t, h)}}})
	c := m.HTTPClient()
	var callers sync.WaitGroup
	for range 50 {
		callers.Go(func() {
			res, err := c.Do(request(t, http.MethodGet, "http://web/", nil))
			if err != nil {
				t.Error(err)
				return
			}
			read(t, res)
		})
	}
	eventually(t, 10*time.Second, "all calls and what the budget pays for", func() bool { return n.Load() == 55 })
	close(gate)
	callers.Wait()
	if n.Load() != 55 {
		t.Errorf("%d attempts for 50 calls, want 55", n.Load())
	}
}

// Each attempt of a gRPC call has an answer, a header and a peer of its own; the
// caller gets those of the one that won.
func TestGRPCHedge(t *testing.T) {
	var gone atomic.Int32
	p := &payments{unary: func(ctx context.Context, n int32) error {
		if n%2 == 1 {
			<-ctx.Done()
			gone.Add(1)
			return status.FromContextError(ctx.Err()).Err()
		}
		return grpc.SetHeader(ctx, metadata.Pairs("from", ownAddress(ctx)))
	}}
	m := newMesh(t, mesh.Options{Defaults: hedging(5 * time.Millisecond), Discovery: addresses{"payments": p.three(t)}})
	client := dialled(t, m)
	for range 10 {
		var header metadata.MD
		var from peer.Peer
		res, err := client.UnaryCall(call.With(limited(t), call.Options{Idempotent: true}),
			new(grpc_testing.SimpleRequest), grpc.Header(&header), grpc.Peer(&from))
		if err != nil {
			t.Fatal(err)
		}
		if u := res.GetUsername(); u == "" || len(header.Get("from")) != 1 || header.Get("from")[0] != u || from.Addr.String() != u {
			t.Errorf("answered by %q, header of %v, peer %v", u, header.Get("from"), from.Addr)
		}
	}
	eventually(t, 5*time.Second, "losers to be given up", func() bool { return gone.Load() == 10 && inflight(m) == 0 })
	if n := failures(m); n != 0 {
		t.Errorf("%d failures", n)
	}
	if _, err := client.UnaryCall(call.With(limited(t), call.Options{Idempotent: true}),
		new(grpc_testing.SimpleRequest), grpc.MaxCallRecvMsgSize(1)); err == nil {
		t.Error("options of a call are lost")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	before := p.calls.Load()
	_, err := client.UnaryCall(ctx, new(grpc_testing.SimpleRequest))
	if sent := p.calls.Load() - before; sent > 1 || err != nil && status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("a call that is not idempotent was sent %d times, %v", sent, err)
	}
}
