package telemetry_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/innermesh/innermesh/call"
	"github.com/innermesh/innermesh/internal/telemetry"
)

// recorded is telemetry whose metrics can be read.
func recorded(t *testing.T, o telemetry.Options) (*telemetry.Telemetry, func() map[string]uint64) {
	t.Helper()
	reader := sdkmetric.NewManualReader()
	o.MeterProvider = sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))
	tel, err := telemetry.New(o, "checkout")
	if err != nil {
		t.Fatal(err)
	}
	return tel, func() map[string]uint64 { return collected(t, reader) }
}

// collected is how often each series was recorded, as "name{key=value,…}".
func collected(t *testing.T, reader *sdkmetric.ManualReader) map[string]uint64 {
	t.Helper()
	var all metricdata.ResourceMetrics
	if err := reader.Collect(t.Context(), &all); err != nil {
		t.Fatal(err)
	}
	got := make(map[string]uint64)
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			switch data := m.Data.(type) {
			case metricdata.Sum[int64]:
				for _, p := range data.DataPoints {
					got[series(m.Name, p.Attributes)] += uint64(p.Value)
				}
			case metricdata.Histogram[float64]:
				for _, p := range data.DataPoints {
					got[series(m.Name, p.Attributes)] += p.Count
				}
			}
		}
	}
	return got
}

func series(name string, set attribute.Set) string {
	var pairs []string
	for _, kv := range set.ToSlice() {
		pairs = append(pairs, string(kv.Key)+"="+kv.Value.String())
	}
	slices.Sort(pairs)
	return name + "{" + strings.Join(pairs, ",") + "}"
}

// What a call is recorded as, by protocol, method, status and reason.
func TestCallsAreRecordedByTheirOutcome(t *testing.T) {
	const httpCall = "http.client.request.duration{"
	const rpcCall = "rpc.client.call.duration{"
	tests := map[string]struct {
		c    call.Call
		out  call.Outcome
		want string
	}{
		"answered": {
			call.Call{Protocol: call.HTTP, Method: "GET"}, call.Outcome{Status: 200},
			httpCall + "http.request.method=GET,http.response.status_code=200,innermesh.destination=shop,innermesh.route=r1,innermesh.service=web,innermesh.source=checkout,innermesh.subset=v2,server.address=web}",
		},
		"not found": {
			call.Call{Protocol: call.HTTP, Method: "GET"}, call.Outcome{Status: 404},
			httpCall + "error.type=404,http.request.method=GET,http.response.status_code=404,innermesh.destination=shop,innermesh.route=r1,innermesh.service=web,innermesh.source=checkout,innermesh.subset=v2,server.address=web}",
		},
		"no answer": {
			call.Call{Protocol: call.HTTP, Method: "POST"}, call.Outcome{Reason: call.Reset, Sent: call.SentUnknown},
			httpCall + "error.type=reset,http.request.method=POST,innermesh.destination=shop,innermesh.route=r1,innermesh.service=web,innermesh.source=checkout,innermesh.subset=v2,server.address=web}",
		},
		"a method of its own": {
			call.Call{Protocol: call.HTTP, Method: "FROB"}, call.Outcome{Status: 200},
			httpCall + "http.request.method=_OTHER,http.response.status_code=200,innermesh.destination=shop,innermesh.route=r1,innermesh.service=web,innermesh.source=checkout,innermesh.subset=v2,server.address=web}",
		},
		"gRPC": {
			call.Call{Protocol: call.GRPC, Method: "/a.B/C"}, call.Outcome{},
			rpcCall + "innermesh.destination=shop,innermesh.route=r1,innermesh.service=web,innermesh.source=checkout,innermesh.subset=v2,rpc.method=a.B/C,rpc.response.status_code=OK,rpc.system.name=grpc,server.address=web}",
		},
		"gRPC, an error": {
			call.Call{Protocol: call.GRPC, Method: "/a.B/C"}, call.Outcome{Reason: call.Unavailable, Status: 14},
			rpcCall + "error.type=UNAVAILABLE,innermesh.destination=shop,innermesh.route=r1,innermesh.service=web,innermesh.source=checkout,innermesh.subset=v2,rpc.method=a.B/C,rpc.response.status_code=UNAVAILABLE,rpc.system.name=grpc,server.address=web}",
		},
		"gRPC, no answer": {
			call.Call{Protocol: call.GRPC, Method: "/a.B/C"}, call.Outcome{Reason: call.Rejected},
			rpcCall + "error.type=rejected,innermesh.destination=shop,innermesh.route=r1,innermesh.service=web,innermesh.source=checkout,innermesh.subset=v2,rpc.method=a.B/C,rpc.system.name=grpc,server.address=web}",
		},
		"gRPC, a code of its own": {
			call.Call{Protocol: call.GRPC, Method: "/a.B/C"}, call.Outcome{Status: 77},
			rpcCall + "error.type=77,innermesh.destination=shop,innermesh.route=r1,innermesh.service=web,innermesh.source=checkout,innermesh.subset=v2,rpc.method=a.B/C,rpc.response.status_code=77,rpc.system.name=grpc,server.address=web}",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			tel, collect := recorded(t, telemetry.Options{})
			w := tel.Upstream("web").Way("r1", "shop", "v2")
			for range 2 {
				w.Called(t.Context(), &test.c, test.out, time.Second)
			}
			if got := collect(); got[test.want] != 2 {
				t.Errorf("got %v, want %s twice", got, test.want)
			}
		})
	}
}

func TestAttemptsAreCountedByReasonAndKind(t *testing.T) {
	tel, collect := recorded(t, telemetry.Options{})
	w := tel.Upstream("web").Way("", "web", "")
	for i, r := range call.Reasons() {
		for range i + 1 {
			w.Attempted(t.Context(), call.HTTP, telemetry.First, r)
		}
		w.Attempted(t.Context(), call.GRPC, telemetry.Retry, r)
		w.Attempted(t.Context(), call.GRPC, telemetry.Hedge, r)
		w.Retried(t.Context(), call.HTTP, r)
	}
	w.RetryRefused(t.Context(), call.HTTP, telemetry.RefusedBudget)
	got := collect()
	want := func(n uint64, name string, labels ...string) {
		t.Helper()
		labels = append(labels, "innermesh.destination=web", "innermesh.service=web", "innermesh.source=checkout")
		slices.Sort(labels)
		if series := name + "{" + strings.Join(labels, ",") + "}"; got[series] != n {
			t.Errorf("%s = %d, want %d", series, got[series], n)
		}
	}
	for i, r := range call.Reasons() {
		reason := "innermesh.reason=" + r.String()
		want(uint64(i+1), "innermesh.client.attempts", "innermesh.kind=first", "innermesh.protocol=http", reason)
		want(1, "innermesh.client.attempts", "innermesh.kind=retry", "innermesh.protocol=grpc", reason)
		want(1, "innermesh.client.attempts", "innermesh.kind=hedge", "innermesh.protocol=grpc", reason)
		want(1, "innermesh.client.retries", "innermesh.protocol=http", reason)
	}
	want(1, "innermesh.client.retry.refusals", "innermesh.protocol=http", "innermesh.reason=budget")
}

// Names that come from outside, such as gRPC methods and odd statuses, do not
// make series without end.
func TestSeriesAreBounded(t *testing.T) {
	tel, collect := recorded(t, telemetry.Options{})
	u := tel.Upstream("web")
	const calls = 5000
	for i := range calls {
		w := u.Way(fmt.Sprint("route", i%300), "web", "")
		w.Called(t.Context(), &call.Call{Protocol: call.GRPC, Method: fmt.Sprintf("/a/%d", i)}, call.Outcome{}, 0)
	}
	got := collect()
	sum := uint64(0)
	for _, n := range got {
		sum += n
	}
	if sum != calls || len(got) > 2200 {
		t.Errorf("%d calls in %d series, want %d in some 2000", sum, len(got), calls)
	}
}

// With the SDK behind them: nothing on the path of a call that goes well, or is
// retried, or is shed.
func TestRecordingAllocatesNothing(t *testing.T) {
	tel, _ := recorded(t, telemetry.Options{})
	w, target := tel.Upstream("web").Way("r1", "web", "v2"), tel.Target("web", "web", "v2")
	c := &call.Call{Protocol: call.HTTP, Method: "GET"}
	ctx := context.Background()
	if n := testing.AllocsPerRun(100, func() {
		w.Attempted(ctx, call.HTTP, telemetry.First, call.OK)
		w.Called(ctx, c, call.Outcome{Status: 200}, time.Millisecond)
		w.Retried(ctx, call.HTTP, call.Unavailable)
		w.RetryRefused(ctx, call.HTTP, telemetry.RefusedBudget)
		target.Queued(ctx, time.Millisecond)
		target.Shed(ctx, "concurrency")
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestSpans(t *testing.T) {
	spans := tracetest.NewSpanRecorder()
	tel, err := telemetry.New(telemetry.Options{
		TracerProvider: sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans)),
	}, "checkout")
	if err != nil {
		t.Fatal(err)
	}
	u := tel.Upstream("web")
	c := &call.Call{Service: "web", Protocol: call.HTTP, Method: "FROB", Instance: "web-1", Attempts: 2}
	ctx, whole := u.StartCall(t.Context(), c, 1)
	_, attempt := u.StartAttempt(ctx, whole, c, telemetry.Span{})
	whole.Retrying(c, call.Reset, 0)
	out := call.Outcome{Reason: call.Reset, Sent: call.SentUnknown, Err: errors.New("it broke")}
	attempt.Judged(c, &telemetry.Try{
		Number: 2, Kind: telemetry.Retry, Instance: "web-1", Address: "10.0.0.1:80", Pause: 250 * time.Millisecond,
	}, out)
	attempt.End()
	whole.Answered(c, out)
	whole.End()
	ended := spans.Ended()
	if len(ended) != 2 {
		t.Fatalf("%d spans", len(ended))
	}
	for i, want := range []map[attribute.Key]string{
		{"innermesh.instance": "web-1", "network.peer.address": "10.0.0.1:80", "http.request.resend_count": "1", "error.type": "reset", "innermesh.attempt": "2", "innermesh.kind": "retry", "innermesh.backoff": "0.25"},
		{"server.address": "web", "innermesh.attempts": "2", "innermesh.sent": "sent, result unknown", "http.request.method": "_OTHER"},
	} {
		got := make(map[attribute.Key]string)
		for _, kv := range ended[i].Attributes() {
			got[kv.Key] = kv.Value.String()
		}
		for k, v := range want {
			if got[k] != v {
				t.Errorf("span %d: %s = %q, want %q", i, k, got[k], v)
			}
		}
		if s := ended[i].Status(); s.Code != codes.Error || s.Description != "it broke" {
			t.Errorf("span %d: status %+v", i, s)
		}
		of := ended[i].InstrumentationScope().Attributes
		if source, _ := of.Value("innermesh.source"); source.AsString() != "checkout" {
			t.Errorf("span %d is of %q", i, source.AsString())
		}
		if ended[i].Name() != "_OTHER web" {
			t.Errorf("span %d is called %q", i, ended[i].Name())
		}
	}
	if ended[0].SpanKind() != trace.SpanKindClient || ended[0].Parent().SpanID() != ended[1].SpanContext().SpanID() {
		t.Error("the attempt is no client's span within the call's")
	}
}

// An unsampled trace travels too, and costs no span of an attempt.
func TestUnsampledTraceTravels(t *testing.T) {
	tel, err := telemetry.New(telemetry.Options{
		TracerProvider: sdktrace.NewTracerProvider(sdktrace.WithSampler(sdktrace.NeverSample())),
	}, "checkout")
	if err != nil {
		t.Fatal(err)
	}
	u := tel.Upstream("web")
	c := &call.Call{Service: "web", Protocol: call.GRPC, Method: "/a/b"}
	ctx, span := u.StartCall(t.Context(), c, 1)
	if span != (telemetry.Span{}) {
		t.Error("there is a span")
	}
	carried := carrier{}
	u.Inject(ctx, carried)
	if v := carried["traceparent"]; !strings.HasSuffix(v, "-00") {
		t.Errorf("traceparent = %q, want one that is not sampled", v)
	}
}

// A tracer that does nothing is not asked for each call, but asked again later:
// a program may set the global provider at any time.
func TestNoTracerIsAskedAgain(t *testing.T) {
	provider := &counting{}
	tel, err := telemetry.New(telemetry.Options{TracerProvider: provider}, "checkout")
	if err != nil {
		t.Fatal(err)
	}
	u := tel.Upstream("web")
	ctx := t.Context()
	for now := time.Duration(1); now < 10*time.Second; now += 10 * time.Millisecond {
		if got, _ := u.StartCall(ctx, &call.Call{Protocol: call.HTTP, Method: "GET"}, now); got != ctx {
			t.Fatal("the context is another one though nobody traces")
		}
	}
	if provider.started < 9 || provider.started > 11 {
		t.Errorf("asked %d times in ten seconds, want one a second", provider.started)
	}
}

// counting traces nothing, and counts how often it was asked to.
type counting struct {
	noop.TracerProvider
	started int
}

func (p *counting) Tracer(string, ...trace.TracerOption) trace.Tracer { return countingTracer{p: p} }

type countingTracer struct {
	noop.Tracer
	p *counting
}

func (t countingTracer) Start(ctx context.Context, name string, o ...trace.SpanStartOption) (context.Context, trace.Span) {
	t.p.started++
	return t.Tracer.Start(ctx, name, o...)
}

type carrier map[string]string

func (c carrier) Get(key string) string { return c[key] }
func (c carrier) Set(key, value string) { c[key] = value }
func (c carrier) Keys() []string        { return nil }
