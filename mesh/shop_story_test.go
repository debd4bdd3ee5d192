package mesh_test

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"

	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/innermesh/innermesh/call"
	"github.com/innermesh/innermesh/mesh"
)

// program is a mesh that tells its spans to told, and knows where others are.
func program(t *testing.T, told traces, service string, others addresses) *mesh.Mesh {
	t.Helper()
	m, err := mesh.New(t.Context(), mesh.Options{
		Service: service, Discovery: others, Telemetry: told.of(service), Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close(context.Background()) })
	return m
}

// warehouse serves warehouse.Shelf/Take over gRPC.
func warehouse(t *testing.T, m *mesh.Mesh, take func(context.Context) error) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer(m.GRPCServerOptions()...)
	s.RegisterService(&grpc.ServiceDesc{
		ServiceName: "warehouse.Shelf", HandlerType: (*any)(nil),
		Methods: []grpc.MethodDesc{{MethodName: "Take", Handler: func(
			srv any, ctx context.Context, decode func(any) error, through grpc.UnaryServerInterceptor,
		) (any, error) {
			in := new(emptypb.Empty)
			if err := decode(in); err != nil {
				return nil, err
			}
			return through(ctx, in, &grpc.UnaryServerInfo{Server: srv, FullMethod: "/warehouse.Shelf/Take"},
				func(ctx context.Context, in any) (any, error) { return in, take(ctx) })
		}}},
	}, struct{}{})
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Serve(l) }()
	t.Cleanup(func() { s.Stop(); <-done })
	return l.Addr().String()
}

// shop is checkout, which asks stock over HTTP, which asks warehouse over gRPC:
// three programs, each with a mesh of its own. It returns where checkout is.
func shop(t *testing.T, told traces, take func(context.Context) error) (addr string) {
	t.Helper()
	shelves := warehouse(t, program(t, told, "warehouse", nil), take)

	stock := program(t, told, "stock", addresses{"warehouse": {shelves}})
	conn, err := stock.GRPCClient("warehouse")
	if err != nil {
		t.Fatal(err)
	}
	items := http.NewServeMux()
	items.HandleFunc("GET /items/{id}", func(w http.ResponseWriter, r *http.Request) {
		ctx := call.With(r.Context(), call.Options{Idempotent: true})
		if err := conn.Invoke(ctx, "/warehouse.Shelf/Take", new(emptypb.Empty), new(emptypb.Empty)); err != nil {
			t.Error(err)
			w.WriteHeader(http.StatusBadGateway)
		}
	})

	checkout := program(t, told, "checkout", addresses{"stock": {web(t, stock.Middleware(items).ServeHTTP)}})
	client := checkout.HTTPClient()
	orders := http.NewServeMux()
	orders.HandleFunc("POST /orders", func(w http.ResponseWriter, r *http.Request) {
		req, err := http.NewRequestWithContext(r.Context(), http.MethodGet, "http://stock/items/42", http.NoBody)
		if err != nil {
			t.Error(err)
			return
		}
		res, err := client.Do(req)
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = io.Copy(io.Discard, res.Body)
		_ = res.Body.Close()
		w.WriteHeader(http.StatusCreated)
	})
	return web(t, checkout.Middleware(orders).ServeHTTP)
}

// One order, through three programs and over two protocols, where one call had to
// be made twice: one trace, in which each program continues what the one before
// began. The caller's trace and baggage, which it sends as headers, go all the way.
func TestOneTraceThroughThreePrograms(t *testing.T) {
	told := newTraces()
	var asked atomic.Int32
	var tenant atomic.Value
	addr := shop(t, told, func(ctx context.Context) error {
		tenant.Store(baggage.FromContext(ctx).Member("tenant").Value())
		return busyOnce(ctx, asked.Add(1))
	})
	req := request(t, http.MethodPost, "http://"+addr+"/orders", nil)
	req.Header.Set("Baggage", "tenant=blue")
	req.Header.Set("Traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
	res, err := new(http.Client).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	read(t, res)
	if res.StatusCode != http.StatusCreated || tenant.Load() != "blue" {
		t.Errorf("answered %d; warehouse was told %v as baggage", res.StatusCode, tenant.Load())
	}
	told.settle(t)
	for _, span := range told.Ended() {
		if id := span.SpanContext().TraceID().String(); id != "4bf92f3577b34da6a3ce929d0e0e4736" {
			t.Errorf("%s is in the trace %s, not in its caller's", span.Name(), id)
		}
	}
	compare(t, told, "shop")
}

// Whoever has otelhttp or otelgrpc in front of the mesh has a server's span
// already: it is the call's, and there is no second one.
func TestServerSpansInFrontOfTheMeshAreTheCalls(t *testing.T) {
	told := newTraces()
	m := program(t, told, "web", nil)
	h := m.Middleware(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if got := trace.SpanFromContext(r.Context()).SpanContext().SpanID(); got != told.Started()[0].SpanContext().SpanID() {
			t.Error("the handler is in another span")
		}
	}))
	addr := web(t, func(w http.ResponseWriter, r *http.Request) {
		ctx := propagation.TraceContext{}.Extract(r.Context(), propagation.HeaderCarrier(r.Header))
		ctx, span := told.provider("web").Tracer("otelhttp").Start(ctx, "GET /", trace.WithSpanKind(trace.SpanKindServer))
		h.ServeHTTP(w, r.WithContext(ctx))
		if n := len(told.Ended()); n != 0 {
			t.Errorf("%d spans have ended: it is not ours to end", n)
		}
		span.End()
	})
	res, err := new(http.Client).Do(request(t, http.MethodGet, "http://"+addr, nil))
	if err != nil {
		t.Fatal(err)
	}
	read(t, res)
	told.settle(t)
	compare(t, told, "in-front")
}

var stories = regexp.MustCompile("(?s)<!-- story: ([a-z-]+) -->\n```text\n(.*?)```\n")

// docs/tracing.md tells the stories word for word.
func TestTracingPageTellsTheStories(t *testing.T) {
	const page = "../docs/tracing.md"
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	want := stories.ReplaceAllStringFunc(string(text), func(block string) string {
		name := stories.FindStringSubmatch(block)[1]
		names = append(names, name)
		story, err := os.ReadFile(filepath.Join("testdata", "spans", name+".txt"))
		if err != nil {
			t.Fatal(err)
		}
		return "<!-- story: " + name + " -->\n```text\n" + string(story) + "```\n"
	})
	if got := strings.Join(names, " "); got != "retry shop" {
		t.Errorf("the page tells the stories %q", got)
	}
	if *update {
		if err := os.WriteFile(page, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if want != string(text) {
		t.Error("docs/tracing.md tells other stories than testdata/spans: go test ./mesh -run 'Spans|Trace|Tracing' -update")
	}
}
