package mesh_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"

	"github.com/innermesh/innermesh/deadletter"
	"github.com/innermesh/innermesh/idempotency"
	"github.com/innermesh/innermesh/mesh"
	"github.com/innermesh/innermesh/policy"
)

// ledger counts what has happened.
type ledger struct {
	mu   sync.Mutex
	runs map[string]int
}

func (l *ledger) add(order string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.runs == nil {
		l.runs = map[string]int{}
	}
	l.runs[order]++
}

// mishap is what goes wrong with a request: before it is looked at, after it was
// carried out, or nothing.
func mishap() (before, after bool) {
	n := rand.IntN(8)
	return n < 2, n >= 2 && n < 5
}

// Requests are lost and answers are lost, over both protocols; what fails for good
// is kept, and sent again until it is done. In the end every order has happened
// exactly once.
func TestEveryOrderHappensExactlyOnce(t *testing.T) {
	const orders = 60
	var done ledger
	store, err := idempotency.NewMemory(idempotency.MemoryOptions{}) // shared by all instances
	if err != nil {
		t.Fatal(err)
	}
	server := newMesh(t, mesh.Options{Service: "server", Discovery: addresses{}})
	guard, err := server.IdempotencyGuard(idempotency.Options{Store: store})
	if err != nil {
		t.Fatal(err)
	}

	handler := guard.Middleware(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		order, _ := io.ReadAll(r.Body)
		done.add(string(order))
	}))
	lossy := func(w http.ResponseWriter, r *http.Request) {
		before, after := mishap()
		switch {
		case before:
			hangUp(w, r)
		case after:
			handler.ServeHTTP(discarded{}, r)
			panic(http.ErrAbortHandler)
		default:
			handler.ServeHTTP(w, r)
		}
	}
	options, err := server.IdempotencyServerOptions(mesh.IdempotencyOptions{Guard: guard})
	if err != nil {
		t.Fatal(err)
	}
	options = append([]grpc.ServerOption{grpc.ChainUnaryInterceptor(
		func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
			before, after := mishap()
			if before {
				return nil, status.Error(codes.Unavailable, "lost on the way")
			}
			res, err := next(ctx, req)
			if after {
				return nil, status.Error(codes.Internal, "lost on the way back")
			}
			return res, err
		})}, options...)
	d := addresses{}
	for range 3 {
		d["web"] = append(d["web"], web(t, lossy))
		d["payments"] = append(d["payments"], serveGRPC(t, &ordered{done: &done}, options...))
	}

	recorder, sink := keeping(t, deadletter.RecorderOptions{All: true})
	m := newMesh(t, mesh.Options{
		Discovery: d, DeadLetters: recorder,
		Defaults: policy.Service{
			Retry:   policy.Retry{Key: policy.KeyMinted, Attempts: 2, Budget: policy.Budget{Ratio: -1}},
			Breaker: policy.Breaker{Failures: -1, FailureRatio: -1}, // or it is waited for
		},
	})
	stub := dialled(t, m)
	ctx := limited(t)
	var wg sync.WaitGroup
	for w := range 6 {
		wg.Go(func() {
			for i := w; i < orders; i += 6 {
				err := orderHTTP(ctx, m.HTTPClient(), fmt.Sprintf("http-%d", i))
				_, kept := errors.AsType[*deadletter.KeptError](err)
				if err != nil && !kept {
					t.Errorf("HTTP: %v", err)
				}
				_, err = stub.UnaryCall(ctx, orderGRPC(fmt.Sprintf("grpc-%d", i)))
				if _, kept = errors.AsType[*deadletter.KeptError](err); err != nil && !kept {
					t.Errorf("gRPC: %v", err)
				}
			}
		})
	}
	wg.Wait()
	kept := len(letters(t, sink))

	r, err := deadletter.NewRedriver(deadletter.RedriverOptions{
		Sink: sink, Sender: m.LetterSender(mesh.LetterSenderOptions{}), Rate: -1, Redrives: -1, Pause: time.Millisecond,
		Backoff: deadletter.Backoff{Base: time.Millisecond, Max: time.Millisecond}, Poll: time.Millisecond, Logger: quiet,
	})
	if err != nil {
		t.Fatal(err)
	}
	redriving, stop := context.WithCancel(ctx)
	wg.Go(func() {
		if err := r.Run(redriving); err != nil {
			t.Error(err)
		}
	})
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for len(letters(t, sink)) > 0 && ctx.Err() == nil {
		<-tick.C
	}
	stop()
	wg.Wait()
	t.Logf("%d orders, %d were letters for a while", 2*orders, kept)
	for i := range orders {
		for _, order := range []string{fmt.Sprintf("http-%d", i), fmt.Sprintf("grpc-%d", i)} {
			if n := done.runs[order]; n != 1 {
				t.Errorf("%s has happened %d times", order, n)
			}
		}
	}
	if left := letters(t, sink); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// ordered carries out what it is sent.
type ordered struct {
	grpc_testing.UnimplementedTestServiceServer
	done *ledger
}

func (o *ordered) UnaryCall(_ context.Context, req *grpc_testing.SimpleRequest) (*grpc_testing.SimpleResponse, error) {
	o.done.add(string(req.GetPayload().GetBody()))
	return &grpc_testing.SimpleResponse{}, nil
}

func orderGRPC(what string) *grpc_testing.SimpleRequest {
	return &grpc_testing.SimpleRequest{Payload: &grpc_testing.Payload{Body: []byte(what)}}
}

func orderHTTP(ctx context.Context, client *http.Client, what string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://web/orders", strings.NewReader(what))
	if err != nil {
		return err
	}
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return errors.New(res.Status)
	}
	return nil
}
