package mesh_test

import (
	"net/http"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/interop/grpc_testing"

	"github.com/innermesh/innermesh/mesh"
	"github.com/innermesh/innermesh/policy"
)

// utilization is what the one instance that m calls has told.
func utilization(m *mesh.Mesh) float64 {
	for _, u := range m.Upstreams() {
		for _, i := range u.Instances {
			return i.Utilization
		}
	}
	return -1
}

// What an instance tells of its load is known to its callers, over HTTP and gRPC,
// also of a stream, and of calls that were turned away.
func TestCallersKnowTheLoad(t *testing.T) {
	server, _ := serving(t, policy.Inbound{Concurrency: 4})
	p := &payments{down: func(s grpc.ServerStreamingServer[grpc_testing.StreamingOutputCallResponse], _ int32) error {
		return s.Send(&grpc_testing.StreamingOutputCallResponse{})
	}}
	addr, _ := p.start(t, server.GRPCServerOptions()...)
	shut, _ := serving(t, policy.Inbound{Concurrency: 4, Rate: policy.InboundRate{PerSecond: 0.001, Burst: 1}})
	limited := limited(t)
	tests := map[string]struct {
		addr string
		call func(t *testing.T, m *mesh.Mesh)
	}{
		"http": {web(t, server.Middleware(http.HandlerFunc(ok)).ServeHTTP), func(t *testing.T, m *mesh.Mesh) {
			t.Helper()
			res, err := page(t, m, "http://payments/")
			if err != nil {
				t.Fatal(err)
			}
			read(t, res)
		}},
		"turned away": {web(t, shut.Middleware(http.HandlerFunc(ok)).ServeHTTP), func(t *testing.T, m *mesh.Mesh) {
			t.Helper()
			for range 2 {
				if res, err := page(t, m, "http://payments/"); err == nil {
					read(t, res)
				}
			}
		}},
		"grpc": {addr, func(t *testing.T, m *mesh.Mesh) {
			t.Helper()
			if _, err := dialled(t, m).UnaryCall(limited, &grpc_testing.SimpleRequest{}); err != nil {
				t.Fatal(err)
			}
		}},
		"stream": {addr, func(t *testing.T, m *mesh.Mesh) {
			t.Helper()
			s, err := dialled(t, m).StreamingOutputCall(limited, &grpc_testing.StreamingOutputCallRequest{})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := drain(s); err != nil {
				t.Fatal(err)
			}
		}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			m := newMesh(t, mesh.Options{Discovery: addresses{"payments": {test.addr}}, Defaults: policy.Service{Retry: policy.Retry{Attempts: 1}}})
			test.call(t, m)
			want := 0.25
			if name == "turned away" { // it takes no place itself
				want = 0.001
			}
			if got := utilization(m); float32(got) != float32(want) {
				t.Errorf("known is %v, want %v", got, want)
			}
		})
	}
}

// Who tells that it is nearly full is called less, if the policy says so.
func TestBalancerGoesByReportedLoad(t *testing.T) {
	const calls = 300
	for load, most := range map[string]int32{policy.LoadReported: calls / 10, policy.LoadSeen: calls} {
		t.Run(load, func(t *testing.T) {
			var full atomic.Int32
			tell := func(utilization string) http.HandlerFunc {
				return func(w http.ResponseWriter, _ *http.Request) {
					w.Header().Set("Endpoint-Load-Metrics", "TEXT application_utilization="+utilization)
				}
			}
			m := newMesh(t, mesh.Options{
				Discovery: addresses{"web": {web(t, counted(&full, tell("0.97"))), web(t, tell("0.1")), web(t, tell("0.1"))}},
				Defaults:  policy.Service{Balancer: policy.Balancer{Load: load}},
			})
			for range calls {
				res, err := page(t, m, "http://web/")
				if err != nil {
					t.Fatal(err)
				}
				read(t, res)
			}
			if n := full.Load(); n == 0 || n > most {
				t.Errorf("the full one was called %d times of %d", n, calls)
			}
		})
	}
}
