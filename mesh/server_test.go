package mesh_test

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/innermesh/innermesh/call"
	"github.com/innermesh/innermesh/mesh"
	"github.com/innermesh/innermesh/policy"
)

// told is what a caller without a mesh hears.
type told struct {
	answer  string // "ok", "overloaded", "late", "broken" or what else it is
	id      string // of the request
	after   int    // milliseconds to stay away
	carries bool   // it says how much the server carries
}

// protocol serves in one way and calls it.
type protocol struct {
	name string
	// start serves with m until the test ends. Calls are without a mesh; their
	// headers come in pairs.
	start func(t *testing.T, m *mesh.Mesh, handle func(context.Context) error) func(ctx context.Context, headers ...string) told
}

var protocols = []protocol{{"http", startHTTP}, {"grpc", startGRPC}, {"grpc stream", startStream}}

func startHTTP(t *testing.T, m *mesh.Mesh, handle func(context.Context) error) func(context.Context, ...string) told {
	t.Helper()
	s := httptest.NewServer(m.Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := handle(r.Context()); err != nil {
			http.Error(w, err.Error(), http.StatusTeapot)
		}
	})))
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	t.Cleanup(s.Close)
	return func(ctx context.Context, headers ...string) told {
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, s.URL+"/orders", nil)
		if err != nil {
			t.Error(err)
			return told{}
		}
		for i := 0; i < len(headers); i += 2 {
			r.Header.Set(headers[i], headers[i+1])
		}
		if at, ok := ctx.Deadline(); ok && time.Until(at) < patience/2 {
			r.Header.Set("X-Envoy-Expected-Rq-Timeout-Ms", strconv.FormatInt(time.Until(at).Milliseconds(), 10))
			r = r.WithContext(context.WithoutCancel(ctx)) // the server is to end it
		}
		res, err := s.Client().Do(r)
		if err != nil {
			return told{answer: err.Error()}
		}
		defer res.Body.Close()
		_, _ = io.Copy(io.Discard, res.Body)
		after, _ := strconv.Atoi(res.Header.Get("Retry-After-Ms"))
		if seconds, _ := strconv.Atoi(res.Header.Get("Retry-After")); seconds != (after+999)/1000 {
			t.Errorf("to stay away for %ds and %dms", seconds, after)
		}
		words := map[int]string{200: "ok", 503: "overloaded", 429: "overloaded", 504: "late", 500: "broken"}
		return told{words[res.StatusCode], res.Header.Get("X-Request-ID"), after, res.Header.Get("Endpoint-Load-Metrics") != ""}
	}
}

// answered is what a gRPC client hears.
func answered(err error, header, trailer metadata.MD) told {
	first := func(values []string) string { return strings.Join(values, ",") }
	after, _ := strconv.Atoi(first(trailer.Get("grpc-retry-pushback-ms")))
	words := map[codes.Code]string{codes.OK: "ok", codes.ResourceExhausted: "overloaded", codes.DeadlineExceeded: "late", codes.Internal: "broken"}
	return told{words[status.Code(err)], first(header.Get("x-request-id")), after, len(trailer.Get("endpoint-load-metrics-bin")) > 0}
}

func startPayments(t *testing.T, m *mesh.Mesh, p *payments) grpc_testing.TestServiceClient {
	t.Helper()
	addr, _ := p.start(t, m.GRPCServerOptions()...)
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return grpc_testing.NewTestServiceClient(conn)
}

func startGRPC(t *testing.T, m *mesh.Mesh, handle func(context.Context) error) func(context.Context, ...string) told {
	t.Helper()
	stub := startPayments(t, m, &payments{unary: func(ctx context.Context, _ int32) error { return handle(ctx) }})
	return func(ctx context.Context, headers ...string) told {
		var header, trailer metadata.MD
		_, err := stub.UnaryCall(metadata.AppendToOutgoingContext(ctx, headers...), &grpc_testing.SimpleRequest{}, grpc.Header(&header), grpc.Trailer(&trailer))
		return answered(err, header, trailer)
	}
}

func startStream(t *testing.T, m *mesh.Mesh, handle func(context.Context) error) func(context.Context, ...string) told {
	t.Helper()
	stub := startPayments(t, m, &payments{
		down: func(s grpc.ServerStreamingServer[grpc_testing.StreamingOutputCallResponse], _ int32) error {
			if err := s.Send(&grpc_testing.StreamingOutputCallResponse{}); err != nil {
				return err
			}
			return handle(s.Context())
		},
	})
	return func(ctx context.Context, headers ...string) told {
		s, err := stub.StreamingOutputCall(metadata.AppendToOutgoingContext(ctx, headers...), &grpc_testing.StreamingOutputCallRequest{})
		if err != nil {
			return answered(err, nil, nil)
		}
		for err == nil {
			_, err = s.Recv()
		}
		if err == io.EOF {
			err = nil
		}
		header, _ := s.Header()
		return answered(err, header, s.Trailer())
	}
}

// journal is a log that a test can read.
type journal struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

// serving is a mesh of the service "shop" with these limits.
func serving(t *testing.T, p policy.Inbound) (*mesh.Mesh, *journal) {
	t.Helper()
	log := &journal{}
	m, err := mesh.New(t.Context(), mesh.Options{
		Service: "shop", Discovery: addresses{}, Server: mesh.ServerOptions{Inbound: p}, Logger: slog.New(slog.NewTextHandler(log, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close(context.Background()) })
	return m, log
}

// eachProtocol runs a test for each of them.
func eachProtocol(t *testing.T, test func(t *testing.T, p protocol)) {
	for _, p := range protocols {
		t.Run(p.name, func(t *testing.T) { test(t, p) })
	}
}

// The request's ID is taken over or made, stands in the context, and is given
// back.
func TestServerKnowsRequestsByID(t *testing.T) {
	eachProtocol(t, func(t *testing.T, p protocol) {
		m, _ := serving(t, policy.Inbound{})
		var in call.Inbound
		do := p.start(t, m, func(ctx context.Context) error { in = call.InboundFrom(ctx); return nil })
		if got := do(limited(t), "x-request-id", "r-17", "innermesh-priority", "background", "innermesh-attempt", "2"); got.answer != "ok" || got.id != "r-17" {
			t.Errorf("told %+v", got)
		}
		if in != (call.Inbound{Attempt: 2, Priority: "background", RequestID: "r-17"}) {
			t.Errorf("the handler knows %+v", in)
		}
		if got := do(limited(t), "x-request-id", "with space"); len(got.id) != 32 || in.RequestID != got.id || got.carries {
			t.Errorf("told %+v, the handler knows %+v", got, in)
		}
	})
}

// A handler that panics is answered for, logged with its stack, and leaves no
// place taken.
func TestServerSurvivesPanics(t *testing.T) {
	eachProtocol(t, func(t *testing.T, p protocol) {
		m, log := serving(t, policy.Inbound{Concurrency: 1})
		panics := true
		do := p.start(t, m, func(context.Context) error {
			if panics {
				panic("the till is stuck")
			}
			return nil
		})
		if got := do(limited(t), "x-request-id", "r-18"); got.answer != "broken" || got.id != "r-18" {
			t.Errorf("told %+v", got)
		}
		panics = false
		if got := do(limited(t)); got.answer != "ok" {
			t.Errorf("then %+v", got)
		}
		for _, want := range []string{"the till is stuck", "r-18", "TestServerSurvivesPanics"} {
			if !strings.Contains(log.String(), want) {
				t.Errorf("the log lacks %q: %s", want, log)
			}
		}
		if n := strings.Count(log.String(), "handler panicked"); n != 1 {
			t.Errorf("told %d times", n)
		}
	})
}

// Who comes when all places are taken is told so, when to come again and how full
// it is; a place is free again when its call ends.
func TestServerSheds(t *testing.T) {
	entered, leave := make(chan struct{}), make(chan struct{})
	hold := func(ctx context.Context) error {
		if call.InboundFrom(ctx).RequestID == "holds" {
			entered <- struct{}{}
			<-leave
		}
		return nil
	}
	tests := map[string]struct {
		policy policy.Inbound
		holds  []string // headers of the call that holds a place
		shed   []string // headers of one that is shed
		passes []string // headers of one that is not; nil is none
	}{
		"all places":   {policy.Inbound{Concurrency: 1}, nil, nil, nil},
		"background":   {policy.Inbound{Concurrency: 2}, nil, []string{"innermesh-priority", "background"}, []string{}},
		"by tenant":    {policy.Inbound{Shares: []policy.Share{{Header: "x-tenant", Concurrency: 1}}}, []string{"x-tenant", "a"}, []string{"x-tenant", "a"}, []string{"x-tenant", "b"}},
		"by priority":  {policy.Inbound{Shares: []policy.Share{{Priority: "degraded", Concurrency: 1}}}, []string{"innermesh-priority", "degraded"}, []string{"innermesh-priority", "degraded"}, []string{}},
		"by caller":    {policy.Inbound{Shares: []policy.Share{{Caller: true, Concurrency: 1}}}, nil, nil, nil},
		"none at all":  {policy.Inbound{Shares: []policy.Share{{Priority: "background", Concurrency: policy.None}}}, nil, []string{"innermesh-priority", "background"}, []string{}},
		"adaptive":     {policy.Inbound{Adaptive: policy.Adaptive{Max: 1, Min: 1}}, nil, nil, []string{"innermesh-priority", "critical"}},
		"rate":         {policy.Inbound{Rate: policy.InboundRate{PerSecond: 0.1, Burst: 1}}, nil, nil, nil},
		"rate of each": {policy.Inbound{Shares: []policy.Share{{Header: "x-tenant", PerSecond: 0.1, Burst: 1}}}, []string{"x-tenant", "a"}, []string{"x-tenant", "a"}, []string{"x-tenant", "b"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			eachProtocol(t, func(t *testing.T, p protocol) {
				if name == "adaptive" && p.name == "grpc stream" {
					t.Skip("streams take no part of it")
				}
				m, _ := serving(t, test.policy)
				do := p.start(t, m, hold)
				var held sync.WaitGroup
				held.Go(func() {
					if got := do(limited(t), append([]string{"x-request-id", "holds"}, test.holds...)...); got.answer != "ok" {
						t.Errorf("who held it was told %+v", got)
					}
				})
				<-entered
				got := do(limited(t), test.shed...)
				if got.answer != "overloaded" || got.after < 1 || len(got.id) != 32 {
					t.Errorf("told %+v", got)
				}
				if test.passes != nil {
					if got := do(limited(t), test.passes...); got.answer != "ok" {
						t.Errorf("who is let in was told %+v", got)
					}
				}
				leave <- struct{}{}
				held.Wait()
				if strings.HasPrefix(name, "rate") || name == "none at all" {
					return
				}
				if got := do(limited(t), test.shed...); got.answer != "ok" {
					t.Errorf("then %+v", got)
				}
			})
		})
	}
}

// A call whose caller does not wait long enough is not begun, and one that is ends
// with its caller's time.
func TestServerKeepsTime(t *testing.T) {
	eachProtocol(t, func(t *testing.T, p protocol) {
		m, _ := serving(t, policy.Inbound{Least: policy.Duration(time.Second)})
		begun := 0
		do := p.start(t, m, func(ctx context.Context) error {
			begun++
			at, ok := ctx.Deadline()
			if left := time.Until(at); !ok || left > 5*time.Second {
				t.Errorf("%v left, %v", left, ok)
			}
			return nil
		})
		short, cancel := context.WithTimeout(t.Context(), 900*time.Millisecond)
		defer cancel()
		if got := do(short); got.answer != "late" || begun != 0 {
			t.Errorf("told %+v, begun %d times", got, begun)
		}
		long, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if got := do(long); got.answer != "ok" || begun != 1 {
			t.Errorf("told %+v, begun %d times", got, begun)
		}
	})
}

// Where there are limits each answer tells how much of them is used.
func TestServerTellsItsLoad(t *testing.T) {
	eachProtocol(t, func(t *testing.T, p protocol) {
		m, _ := serving(t, policy.Inbound{Concurrency: 4})
		if got := p.start(t, m, func(context.Context) error { return nil })(limited(t)); got.answer != "ok" || !got.carries {
			t.Errorf("told %+v", got)
		}
	})
}
