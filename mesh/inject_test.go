package mesh_test

import (
	"errors"
	"io"
	"math"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/innermesh/innermesh/call"
	"github.com/innermesh/innermesh/mesh"
	"github.com/innermesh/innermesh/policy"
)

// drill makes trouble for every attempt.
func drill(in policy.Injection) policy.Service {
	in.Name, in.Millionths = "drill", 1_000_000
	in.Until = time.Now().Add(time.Hour).Format(time.RFC3339)
	return policy.Service{Inject: []policy.Injection{in}, Retry: policy.Retry{Attempts: 2, Backoff: policy.Backoff{Base: policy.Off}}}
}

// blameless fails the test if an instance was asked or blamed.
func blameless(t *testing.T, m *mesh.Mesh, asked int32) {
	t.Helper()
	if n := failures(m); n != 0 || asked != 0 || inflight(m) != 0 {
		t.Errorf("%d failures, asked %d times, %d under way: the drill is not the instances' affair", n, asked, inflight(m))
	}
}

func TestInjectStatus(t *testing.T) {
	for name, in := range map[string]policy.Injection{"status": {Status: 503}, "code": {Code: "UNAVAILABLE"}} {
		t.Run(name, func(t *testing.T) {
			var n atomic.Int32
			m := newMesh(t, mesh.Options{Discovery: addresses{"web": {web(t, counted(&n, ok)), web(t, counted(&n, ok))}}, Defaults: drill(in)})
			res, err := page(t, m, "http://web/")
			if err != nil {
				t.Fatal(err)
			}
			if text := read(t, res); res.StatusCode != http.StatusServiceUnavailable || res.Header.Get(call.InjectedHeader) != "drill" || !strings.Contains(text, "injected") {
				t.Errorf("got %d %v %q", res.StatusCode, res.Header, text)
			}
			if u := m.Upstreams()[0]; u.Instances[0].Attempts+u.Instances[1].Attempts != 2 {
				t.Errorf("%+v: want two attempts, for a drill is for retries, too", u)
			}
			blameless(t, m, n.Load())
		})
	}
}

func TestInjectReset(t *testing.T) {
	var n atomic.Int32
	m := newMesh(t, mesh.Options{Discovery: addresses{"web": {web(t, counted(&n, ok))}}, Defaults: drill(policy.Injection{Connection: policy.Reset})})
	_, err := m.HTTPClient().Do(request(t, http.MethodPost, "http://web/", watch("x")))
	e, is := errors.AsType[*call.Error](err)
	if !is || e.Reason != call.Reset || e.Attempts != 1 || !errors.Is(err, call.ErrInjected) || !strings.Contains(err.Error(), "drill") {
		t.Errorf("got %v, want one attempt that was reset on purpose", err)
	}
	blameless(t, m, n.Load())
}

// What vanishes costs the attempts' time, and no more.
func TestInjectBlackHole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := drill(policy.Injection{Connection: policy.BlackHole})
		p.Timeout = policy.Timeout{Total: policy.Duration(10 * time.Second), PerTry: policy.Duration(2 * time.Second)}
		m := newMesh(t, mesh.Options{Discovery: addresses{"web": {"127.0.0.1:1"}}, Defaults: p})
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://web/", nil)
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		_, err = m.Transport(instant{}).RoundTrip(r)
		e, is := errors.AsType[*call.Error](err)
		if took := time.Since(began); !is || e.Reason != call.TryTimeout || !errors.Is(err, call.ErrInjected) || took != 4*time.Second {
			t.Errorf("after %v %v, want two times two seconds", took, err)
		}
		blameless(t, m, 0)
	})
}

func TestInjectDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMesh(t, mesh.Options{
			Discovery: addresses{"web": {"127.0.0.1:1"}}, Defaults: drill(policy.Injection{Delay: policy.Duration(3 * time.Second)}),
		})
		transport := m.Transport(instant{})
		for _, test := range []struct{ pass, want time.Duration }{{0, 3 * time.Second}, {time.Hour, 0}} { // then it is over
			time.Sleep(test.pass)
			r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://web/", nil)
			if err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			res, err := transport.RoundTrip(r)
			if err != nil {
				t.Fatal(err)
			}
			marked := res.Header.Get(call.InjectedHeader) == "drill"
			if took := time.Since(began); took != test.want || marked != (took != 0) {
				t.Errorf("after %v, marked: %v; want %v", took, marked, test.want)
			}
			read(t, res)
		}
	})
}

func TestInjectSlowBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMesh(t, mesh.Options{
			Discovery: addresses{"web": {"127.0.0.1:1"}}, Defaults: drill(policy.Injection{BytesPerSecond: 100}),
		})
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://web/", nil)
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		res, err := m.Transport(says(strings.Repeat("x", 1000))).RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		if text := read(t, res); len(text) != 1000 || time.Since(began).Round(time.Second) != 10*time.Second {
			t.Errorf("%d bytes in %v, want 1000 in ten seconds", len(text), time.Since(began))
		}
	})
}

// says is a base that answers with a text.
type says string

func (s says) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(string(s))), Request: r}, nil
}

// What the route does to a request is done although the first attempt never was
// sent.
func TestInjectKeepsTheRequest(t *testing.T) {
	p := drill(policy.Injection{Status: 503, Active: 1})
	p.Inject[0].Millionths = 500_000
	p.Retry.Attempts = 20
	p.Retry.Budget.Ratio = -1
	p.Routes = []policy.Route{{RequestHeaders: policy.Headers{Set: map[string]string{"x-way": "this"}}}}
	m := newMesh(t, mesh.Options{Defaults: p, Discovery: addresses{"web": {web(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		_, _ = io.WriteString(w, r.Header.Get("X-Way")+" "+string(body))
	})}}})
	for range 20 {
		res, err := m.HTTPClient().Do(request(t, http.MethodPut, "http://web/", watch("x")))
		if err != nil {
			t.Fatal(err)
		}
		if text := read(t, res); text != "this x" {
			t.Fatalf("got %q", text)
		}
	}
}

func TestGRPCInject(t *testing.T) {
	tests := map[string]struct {
		in   policy.Injection
		code codes.Code
	}{
		"code":       {policy.Injection{Code: "DATA_LOSS"}, codes.DataLoss},
		"status":     {policy.Injection{Status: 503}, codes.Unavailable},
		"reset":      {policy.Injection{Connection: policy.Reset}, codes.Unavailable},
		"only delay": {policy.Injection{Delay: policy.Duration(time.Millisecond)}, codes.OK},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			p := &payments{down: func(s grpc.ServerStreamingServer[grpc_testing.StreamingOutputCallResponse], _ int32) error {
				return s.Send(new(grpc_testing.StreamingOutputCallResponse))
			}}
			m := newMesh(t, mesh.Options{Discovery: addresses{"payments": p.three(t)}, Defaults: drill(test.in)})
			client := dialled(t, m)
			var header metadata.MD
			_, err := client.UnaryCall(limited(t), new(grpc_testing.SimpleRequest), grpc.Header(&header))
			if status.Code(err) != test.code || err != nil && !errors.Is(err, call.ErrInjected) {
				t.Errorf("unary: got %v, want %v", err, test.code)
			}
			if err == nil && len(header.Get(call.InjectedHeader)) != 1 {
				t.Errorf("unmarked: %v", header)
			}
			s, err := client.StreamingOutputCall(limited(t), new(grpc_testing.StreamingOutputCallRequest))
			if err == nil {
				_, err = drain(s)
			}
			if status.Code(err) != test.code || err != nil && !errors.Is(err, call.ErrInjected) {
				t.Errorf("stream: got %v, want %v", err, test.code)
			}
			if test.code != codes.OK {
				blameless(t, m, p.calls.Load())
			}
		})
	}
}

// Who looks at the metrics sees the drill.
func TestInjectIsCounted(t *testing.T) {
	reader := sdkmetric.NewManualReader()
	m := newMesh(t, mesh.Options{
		Discovery: addresses{"web": {"127.0.0.1:1"}}, Defaults: drill(policy.Injection{Status: 500}),
		Telemetry: mesh.TelemetryOptions{MeterProvider: sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))},
	})
	for range 3 {
		res, err := page(t, m, "http://web/")
		if err != nil {
			t.Fatal(err)
		}
		read(t, res)
	}
	var all metricdata.ResourceMetrics
	if err := reader.Collect(t.Context(), &all); err != nil {
		t.Fatal(err)
	}
	for _, metric := range all.ScopeMetrics[0].Metrics {
		if sum, is := metric.Data.(metricdata.Sum[int64]); is && metric.Name == "innermesh.client.injections" {
			if name, _ := sum.DataPoints[0].Attributes.Value("innermesh.injected"); sum.DataPoints[0].Value != 3 || name.AsString() != "drill" {
				t.Errorf("%d of %q, want 3 of the drill", sum.DataPoints[0].Value, name.AsString())
			}
			return
		}
	}
	t.Error("not counted")
}

// A day of drills: each kind befalls its share, and however little it takes for an
// instance to be taken out, none is.
func TestInjectManyBlamesNobody(t *testing.T) {
	calls := 100_000
	if testing.Short() {
		calls = 10_000
	}
	synctest.Test(t, func(t *testing.T) {
		until := time.Now().Add(24 * time.Hour).Format(time.RFC3339)
		reader := sdkmetric.NewManualReader()
		tel := mesh.TelemetryOptions{MeterProvider: sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))}
		m := newMesh(t, mesh.Options{Telemetry: tel, Discovery: addresses{"web": {"127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"}}, Defaults: policy.Service{
			Inject: []policy.Injection{
				{Name: "abort", Millionths: 25_000, Status: 503, Until: until},
				{Name: "delay", Millionths: 100_000, Delay: policy.Duration(time.Millisecond), Until: until},
			},
			Retry:    policy.Retry{Attempts: 1},
			Breaker:  policy.Breaker{Failures: 1},
			Ejection: policy.Ejection{Failures: 1, Base: policy.Duration(time.Minute), MaxPercent: 100},
		}})
		transport := m.Transport(instant{})
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://web/", nil)
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]int{}
		for range calls {
			begin := time.Now()
			res, err := transport.RoundTrip(r)
			if err != nil {
				t.Fatal(err)
			}
			read(t, res)
			name := res.Header.Get(call.InjectedHeader)
			if got[name]++; (res.StatusCode == http.StatusServiceUnavailable) != (name == "abort") || (time.Since(begin) > 0) != (name == "delay") {
				t.Fatalf("%q: %d after %v", name, res.StatusCode, time.Since(begin))
			}
		}
		for name, share := range map[string]float64{"abort": 0.025, "delay": 0.975 * 0.1} {
			if off := math.Abs(float64(got[name])/float64(calls) - share); off > 5*math.Sqrt(share*(1-share)/float64(calls)) {
				t.Errorf("%s befell %d of %d calls, want %v of all", name, got[name], calls, share)
			}
		}
		blameless(t, m, 0)
		for _, metric := range collect(t, reader) {
			if _, _, series := shape(metric); metric.Name == "innermesh.breaker.changes" || metric.Name == "innermesh.ejections" {
				t.Errorf("somebody was taken out: %s has %v", metric.Name, series)
			}
		}
	})
}
