package mesh_test

import (
	"context"
	"flag"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/interop/grpc_testing"

	"github.com/innermesh/innermesh/call"
	"github.com/innermesh/innermesh/mesh"
	"github.com/innermesh/innermesh/policy"
)

var update = flag.Bool("update", false, "write the stories in testdata/spans and docs/tracing.md")

// What the spans of a call tell, by what happens to it. Each story is compared
// word for word with the one in testdata/spans: kinds, names, attributes, events,
// links, and that every span that began has ended.
func TestSpansTellWhatHappened(t *testing.T) {
	alone := policy.Balancer{PanicPercent: -1} // the only instance may be kept away from
	tests := map[string]struct {
		instances, calls int
		serve            func(w http.ResponseWriter, n int32)
		policy           policy.Service
	}{
		"success":   {1, 1, answers(200), policy.Service{}},
		"not-found": {1, 1, answers(404), policy.Service{}},
		"retry":     {1, 1, answers(503, 200), policy.Service{}},
		"fault":     {1, 1, answers(200), drill(policy.Injection{Status: 503})},
		"breaker":   {1, 2, answers(500), policy.Service{Breaker: policy.Breaker{Failures: 1}, Balancer: alone}},
		"ejection": {2, 1, answers(500, 200), policy.Service{
			Ejection: policy.Ejection{Failures: 1, Base: policy.Duration(time.Minute), MaxPercent: 50},
			Balancer: alone, Breaker: policy.Breaker{Open: policy.Off},
		}},
		"budget": {1, 1, answers(503), policy.Service{Retry: policy.Retry{Budget: policy.Budget{Ratio: 0.01, Floor: 0.001}}}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var asked atomic.Int32
			var addrs []string
			for range test.instances {
				addrs = append(addrs, web(t, func(w http.ResponseWriter, _ *http.Request) { test.serve(w, asked.Add(1)) }))
			}
			told := newTraces()
			m := newMesh(t, mesh.Options{Discovery: addresses{"web": addrs}, Defaults: test.policy, Telemetry: told.of("checkout")})
			for range test.calls {
				if res, err := page(t, m, "http://web/secret/path?token=secret"); err == nil {
					read(t, res)
				}
			}
			compare(t, told, name)
		})
	}
}

// The second instance answers; the attempt that is given up says so.
func TestSpansOfHedges(t *testing.T) {
	var asked atomic.Int32
	gone := make(chan struct{})
	hesitant := func(w http.ResponseWriter, r *http.Request) {
		if asked.Add(1) == 1 {
			<-r.Context().Done()
			close(gone)
		}
	}
	told := newTraces()
	m := newMesh(t, mesh.Options{
		Discovery: addresses{"web": {web(t, hesitant), web(t, hesitant)}}, Defaults: hedging(20 * time.Millisecond), Telemetry: told.of("checkout"),
	})
	res, err := page(t, m, "http://web/")
	if err != nil {
		t.Fatal(err)
	}
	read(t, res)
	<-gone
	told.settle(t)
	compare(t, told, "hedge")
}

// Each hop is a call of its own, and all are in the trace of who follows them.
func TestSpansOfRedirects(t *testing.T) {
	told := newTraces()
	m := newMesh(t, mesh.Options{Telemetry: told.of("checkout"), Discovery: addresses{
		"web":  {web(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "http://shop/new", http.StatusFound) })},
		"shop": {web(t, ok)},
	}})
	ctx, span := told.provider("checkout").Tracer("test").Start(t.Context(), "buy")
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://web/old", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	res, err := m.HTTPClient().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	read(t, res)
	span.End()
	compare(t, told, "redirect")
}

// A call that its caller has given up.
func TestSpansOfCanceledCalls(t *testing.T) {
	entered := make(chan struct{})
	told := newTraces()
	m := newMesh(t, mesh.Options{Telemetry: told.of("checkout"), Discovery: addresses{
		"web": {web(t, func(_ http.ResponseWriter, r *http.Request) { close(entered); <-r.Context().Done() })},
	}})
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-entered; cancel() }()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://web/", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	ends(t, m.HTTPClient(), req, context.Canceled)
	compare(t, told, "canceled")
}

// Spans last as long as the answer is read, not only until it has begun.
func TestSpansEndWithTheBody(t *testing.T) {
	told := newTraces()
	m := newMesh(t, mesh.Options{Telemetry: told.of("checkout"), Discovery: addresses{"web": {web(t, ok)}}})
	res, err := page(t, m, "http://web/")
	if err != nil {
		t.Fatal(err)
	}
	if n := len(told.Ended()); n != 0 {
		t.Errorf("%d spans have ended before the body", n)
	}
	read(t, res)
	if n := len(told.Ended()); n != 2 {
		t.Errorf("%d spans have ended with the body, want both", n)
	}
}

// The same for gRPC: a stream whose first attempt fails, and ends after its last
// message.
func TestSpansOfStreams(t *testing.T) {
	message := new(grpc_testing.StreamingOutputCallResponse)
	p := &payments{down: func(s grpc.ServerStreamingServer[grpc_testing.StreamingOutputCallResponse], n int32) error {
		if err := busyOnce(s.Context(), n); err != nil {
			return err
		}
		return s.Send(message)
	}}
	addr, _ := p.start(t)
	told := newTraces()
	m := newMesh(t, mesh.Options{Discovery: addresses{"payments": {addr}}, Telemetry: told.of("checkout")})
	s, err := dialled(t, m).StreamingOutputCall(call.With(limited(t), call.Options{Idempotent: true}), &grpc_testing.StreamingOutputCallRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Recv(); err != nil {
		t.Fatal(err)
	}
	if n := len(told.Ended()); n != 1 {
		t.Errorf("%d spans have ended before the stream, want that of the first attempt", n)
	}
	if _, err := drain(s); err != nil {
		t.Fatal(err)
	}
	compare(t, told, "stream")
}

// Whoever has otelhttp around the mesh has a client's span already: it is the
// call's, and there is no second one.
func TestSpansAroundTheMeshAreTheCalls(t *testing.T) {
	told := newTraces()
	m := newMesh(t, mesh.Options{
		Discovery: addresses{"web": {web(t, busyFirst(new(atomic.Int32)))}}, Telemetry: told.of("checkout"),
	})
	ctx, span := told.provider("checkout").Tracer("otelhttp").Start(t.Context(), "HTTP GET", trace.WithSpanKind(trace.SpanKindClient))
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://web/", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	res, err := m.HTTPClient().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	read(t, res)
	if n := len(told.Ended()); n != 2 {
		t.Errorf("%d spans have ended, want those of the attempts: the other is not ours to end", n)
	}
	span.End()
	compare(t, told, "around")
}

// answers gives these statuses, one after the other, and then the last.
func answers(codes ...int) func(http.ResponseWriter, int32) {
	return func(w http.ResponseWriter, n int32) { w.WriteHeader(codes[min(int(n), len(codes))-1]) }
}

var clock = regexp.MustCompile(`\d\d:\d\d:\d\d`)

// compare compares what the spans tell with what they told when it was written
// down.
func compare(t *testing.T, told traces, name string) {
	t.Helper()
	got := clock.ReplaceAllString(told.story(t), "…")
	if strings.Contains(got, "secret") {
		t.Errorf("the spans tell a secret:\n%s", got)
	}
	file := filepath.Join("testdata", "spans", name+".txt")
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("the spans tell\n%s\nwant\n%s", got, want)
	}
}
