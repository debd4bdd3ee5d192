package mesh_test

import (
	"net/http"
	"testing"

	"google.golang.org/grpc/credentials/insecure"

	"github.com/innermesh/innermesh/mesh"
	"github.com/innermesh/innermesh/policy"
)

// limitsOn are limits that let everything in.
var limitsOn = policy.Inbound{
	Concurrency: 10_000, Rate: policy.InboundRate{PerSecond: 1e6}, Adaptive: policy.Adaptive{Max: 10_000, Min: 1000},
	Shares: []policy.Share{{Caller: true, Concurrency: 5_000}},
}

// BenchmarkMiddleware is what serving a request costs, beside the bare handler:
// without a connection, so that the path alone is seen, and over one. Goal: 10
// allocations more at most.
func BenchmarkMiddleware(b *testing.B) {
	for _, tel := range telemetries {
		for name, limits := range map[string]policy.Inbound{"": {}, "+limits": limitsOn} {
			m := newMesh(b, mesh.Options{Discovery: addresses{}, Server: mesh.ServerOptions{Inbound: limits}, Telemetry: tel.options()})
			served := m.Middleware(http.HandlerFunc(ok))
			b.Run(tel.name+name+"/instant", func(b *testing.B) {
				r := request(b, http.MethodGet, "/", nil)
				r.RemoteAddr = "10.0.0.1:1234"
				w := nowhere{}
				contest{callers: 1, round: 20_000}.run(b, func() { served.ServeHTTP(w, r) }, way{"bare", func() { ok(w, r) }})
			})
			b.Run(tel.name+name+"/loopback", func(b *testing.B) {
				meshed, bare := web(b, served.ServeHTTP), web(b, ok)
				c := rawClient(b, nil)
				contest{callers: 16, round: 4_000}.run(b, getter(b, c, "http://"+meshed+"/"), way{"bare", getter(b, c, "http://"+bare+"/")})
			})
		}
	}
}

// BenchmarkGRPCServerOptions is what serving a unary call costs, beside a bare
// server.
func BenchmarkGRPCServerOptions(b *testing.B) {
	for name, limits := range map[string]policy.Inbound{"bare": {}, "limits": limitsOn} {
		b.Run(name, func(b *testing.B) {
			m := newMesh(b, mesh.Options{Discovery: addresses{}, Server: mesh.ServerOptions{Inbound: limits}})
			served := dialRaw(b, healthServer(b, m.GRPCServerOptions()...), insecure.NewCredentials())
			raw := dialRaw(b, healthServer(b), insecure.NewCredentials())
			contest{callers: 16, round: 4_000}.run(b, checker(b, served), way{"raw", checker(b, raw)})
		})
	}
}

// nowhere is where an answer goes that nobody reads.
type nowhere http.Header

func (n nowhere) Header() http.Header             { return http.Header(n) }
func (nowhere) Write(p []byte) (int, error)       { return len(p), nil }
func (nowhere) WriteString(s string) (int, error) { return len(s), nil }
func (nowhere) WriteHeader(int)                   {}
