package mesh_test

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"

	"github.com/innermesh/innermesh/call"
	"github.com/innermesh/innermesh/idempotency"
	"github.com/innermesh/innermesh/mesh"
)

// impatient is a guard that sends repeats away while the first runs.
func impatient(t *testing.T, m *mesh.Mesh) *idempotency.Guard {
	t.Helper()
	store, err := idempotency.NewMemory(idempotency.MemoryOptions{})
	if err != nil {
		t.Fatal(err)
	}
	guard, err := m.IdempotencyGuard(idempotency.Options{Store: store, Wait: -1, RetryAfter: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	return guard
}

// job is carried out once, as long as it is not released.
type job struct {
	runs             atomic.Int32
	running, release chan struct{}
}

func newJob() *job { return &job{running: make(chan struct{}), release: make(chan struct{})} }

func (j *job) run() {
	if j.runs.Add(1) == 1 {
		close(j.running)
	}
	<-j.release
}

// A repeat that comes while the first still runs comes again when it was asked to,
// and gets the first one's answer.
func TestRepeatComesAgainWhileTheFirstRuns(t *testing.T) {
	server := newMesh(t, mesh.Options{Service: "web", Discovery: addresses{}})

	t.Run("HTTP", func(t *testing.T) {
		j := newJob()
		inner := impatient(t, server).Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			j.run()
			ok(w, r)
		}))
		var once sync.Once
		h := func(w http.ResponseWriter, r *http.Request) {
			inner.ServeHTTP(w, r)
			select {
			case <-j.release:
			default: // it was sent away
				once.Do(func() { close(j.release) })
			}
		}
		m := newMesh(t, mesh.Options{Discovery: addresses{"web": {web(t, h), web(t, h)}}})
		order := func() (body, replayed string) {
			req := request(t, http.MethodPost, "http://web/orders", strings.NewReader("a chair"))
			res, err := m.HTTPClient().Do(req.WithContext(call.With(req.Context(), call.Options{Key: "order 42"})))
			if err != nil {
				t.Error(err)
				return "", ""
			}
			return read(t, res), res.Header.Get(idempotency.ReplayedHeader)
		}
		var first sync.WaitGroup
		first.Go(func() {
			if body, replayed := order(); body != "ok" || replayed != "" {
				t.Errorf("the first got %q, replayed %q", body, replayed)
			}
		})
		<-j.running
		if body, replayed := order(); body != "ok" || replayed != "true" {
			t.Errorf("the repeat got %q, replayed %q", body, replayed)
		}
		first.Wait()
		if j.runs.Load() != 1 {
			t.Errorf("carried out %d times", j.runs.Load())
		}
	})

	t.Run("gRPC", func(t *testing.T) {
		j := newJob()
		options, err := server.IdempotencyServerOptions(mesh.IdempotencyOptions{Guard: impatient(t, server)})
		if err != nil {
			t.Fatal(err)
		}
		var once sync.Once
		outer := func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
			res, err := next(ctx, req)
			if err != nil {
				once.Do(func() { close(j.release) })
			}
			return res, err
		}
		inner := func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
			j.run()
			return next(ctx, req)
		}
		p := new(payments)
		options = append(append([]grpc.ServerOption{grpc.ChainUnaryInterceptor(outer)}, options...), grpc.ChainUnaryInterceptor(inner))
		addr, _ := p.start(t, options...)
		stub := dialled(t, newMesh(t, mesh.Options{Discovery: addresses{"payments": {addr}}}))
		order := func() (replayed bool) {
			var header metadata.MD
			ctx := call.With(limited(t), call.Options{Key: "order 42"})
			if _, err := stub.UnaryCall(ctx, new(grpc_testing.SimpleRequest), grpc.Header(&header)); err != nil {
				t.Error(err)
			}
			return len(header.Get(idempotency.ReplayedMetadata)) > 0
		}
		var first sync.WaitGroup
		first.Go(func() {
			if order() {
				t.Error("the first was told that it is a repeat")
			}
		})
		<-j.running
		if !order() {
			t.Error("the repeat was carried out")
		}
		first.Wait()
		if p.calls.Load() != 1 {
			t.Errorf("carried out %d times", p.calls.Load())
		}
	})
}

// Hedges of a call with a key come to the same guard: it is carried out once, and
// whoever of them is told so first gets the one answer.
func TestHedgesWithAKeyAreCarriedOutOnce(t *testing.T) {
	server := newMesh(t, mesh.Options{Service: "web", Discovery: addresses{}})
	for name, guard := range map[string]*idempotency.Guard{"waits": guarded(t, server), "sends away": impatient(t, server)} {
		t.Run("HTTP, the guard "+name, func(t *testing.T) {
			j, arrivals := newJob(), make(chan struct{}, 10)
			inner := guard.Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				j.run()
				ok(w, r)
			}))
			h := func(w http.ResponseWriter, r *http.Request) {
				arrivals <- struct{}{}
				inner.ServeHTTP(w, r)
			}
			m := newMesh(t, mesh.Options{Discovery: addresses{"web": {web(t, h), web(t, h)}}, Defaults: hedging(time.Millisecond)})
			done := make(chan struct{})
			go func() {
				defer close(done)
				req := request(t, http.MethodPost, "http://web/orders", strings.NewReader("a chair"))
				res, err := m.HTTPClient().Do(req.WithContext(call.With(req.Context(), call.Options{Keyed: true})))
				if err != nil {
					t.Error(err)
				} else if body := read(t, res); body != "ok" || res.StatusCode != http.StatusOK {
					t.Errorf("status %d, body %q", res.StatusCode, body)
				}
			}()
			<-arrivals
			<-arrivals // the hedge
			close(j.release)
			<-done
			if j.runs.Load() != 1 {
				t.Errorf("carried out %d times", j.runs.Load())
			}
		})
	}
	for name, guard := range map[string]*idempotency.Guard{"waits": guarded(t, server), "sends away": impatient(t, server)} {
		t.Run("gRPC, the guard "+name, func(t *testing.T) {
			j, arrivals := newJob(), make(chan struct{}, 10)
			options, err := server.IdempotencyServerOptions(mesh.IdempotencyOptions{Guard: guard})
			if err != nil {
				t.Fatal(err)
			}
			step := func(f func()) grpc.ServerOption {
				return grpc.ChainUnaryInterceptor(func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
					f()
					return next(ctx, req)
				})
			}
			options = append(append([]grpc.ServerOption{step(func() { arrivals <- struct{}{} })}, options...), step(j.run))
			p := new(payments)
			var addrs []string
			for range 2 {
				addr, _ := p.start(t, options...)
				addrs = append(addrs, addr)
			}
			stub := dialled(t, newMesh(t, mesh.Options{Discovery: addresses{"payments": addrs}, Defaults: hedging(time.Millisecond)}))
			done := make(chan error)
			go func() {
				_, err := stub.UnaryCall(call.With(limited(t), call.Options{Keyed: true}), new(grpc_testing.SimpleRequest))
				done <- err
			}()
			<-arrivals
			<-arrivals // the hedge
			close(j.release)
			if err := <-done; err != nil {
				t.Error(err)
			}
			if p.calls.Load() != 1 {
				t.Errorf("carried out %d times", p.calls.Load())
			}
		})
	}
}
