package upstream_test

import (
	"fmt"
	"log/slog"
	"runtime"
	"testing"

	"github.com/innermesh/innermesh/balancer"
	"github.com/innermesh/innermesh/call"
	"github.com/innermesh/innermesh/discovery"
	"github.com/innermesh/innermesh/internal/mono"
	"github.com/innermesh/innermesh/internal/route"
	"github.com/innermesh/innermesh/internal/telemetry"
	"github.com/innermesh/innermesh/internal/upstream"
	"github.com/innermesh/innermesh/policy"
)

// getRequest is a request for a path.
type getRequest string

func (g getRequest) Line() (method, path string)               { return "GET", string(g) }
func (g getRequest) HeaderValue(route.Name) (string, bool)     { return "", false }
func (g getRequest) QueryValue(string) (value string, ok bool) { return "", false }

// hundred are a hundred routes, each a split of three.
func hundred() policy.Service {
	var s policy.Service
	for i := range 100 {
		s.Routes = append(s.Routes, policy.Route{
			Match: policy.Match{PathPrefix: fmt.Sprintf("/r%02d/", i)},
			To: []policy.Leg{
				{Weight: 90}, {Weight: 9, Target: policy.Target{Service: "next"}}, {Weight: 1, Target: policy.Target{Service: "canary"}},
			},
		})
	}
	return s
}

func benchDirectory(b *testing.B, source discovery.Source) *upstream.Directory {
	b.Helper()
	tel, err := telemetry.New(telemetry.Options{}, "bench")
	if err != nil {
		b.Fatal(err)
	}
	d := upstream.NewDirectory(upstream.Options{
		Source: source, Telemetry: tel, Logger: slog.New(slog.DiscardHandler),
		Follow: func(*upstream.Upstream) {}, Provisional: func(string) policy.Effective { return policy.Effective{} },
	})
	b.Cleanup(d.Close)
	return d
}

func benchUpstream(b *testing.B, d *upstream.Directory, service string, p policy.Effective) *upstream.Upstream {
	b.Helper()
	u, err := d.Get(service)
	if err != nil {
		b.Fatal(err)
	}
	if err := u.Apply(p); err != nil {
		b.Fatal(err)
	}
	for _, c := range u.Clusters() {
		if err := c.Ready(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
	return u
}

// BenchmarkRoute finds the way of a call and picks an instance: the plan's part
// of the price of a call.
func BenchmarkRoute(b *testing.B) {
	source := discovery.Static{"web": {"10.0.0.1:80", "10.0.0.2:80"}, "next": {"10.0.0.3:80"}, "canary": {"10.0.0.4:80"}}
	for _, bench := range []struct {
		name string
		s    policy.Service
		path getRequest
	}{
		{"no routes", policy.Service{}, "/"},
		{"first of 100 routes", hundred(), "/r00/x"},
		{"last of 100 routes", hundred(), "/r99/x"},
		{"none of 100 routes", hundred(), "/x"},
	} {
		b.Run(bench.name, func(b *testing.B) {
			u := benchUpstream(b, benchDirectory(b, source), "web", merged(bench.s))
			b.ReportAllocs()
			for b.Loop() {
				now := mono.Now()
				pick, err := u.Plan().Match(bench.path).Pick(bench.path, route.Origin{}).Pick(balancer.Info{Now: now})
				if err != nil {
					b.Fatal(err)
				}
				pick.Judge(now, 0, call.Outcome{})
				pick.Release()
			}
		})
	}
}

// BenchmarkApply puts a change in force that leaves all targets as they were:
// for one service of a hundred routes, and for all of many services.
func BenchmarkApply(b *testing.B) {
	source := discovery.Static{"next": {"10.0.0.3:80"}, "canary": {"10.0.0.4:80"}}
	b.Run("100 routes", func(b *testing.B) {
		u := benchUpstream(b, benchDirectory(b, source), "web", merged(hundred()))
		changes := changing(hundred())
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			if err := u.Apply(changes[i%2]); err != nil {
				b.Fatal(err)
			}
		}
	})
	for _, n := range []int{10, 100, 1000} {
		b.Run(fmt.Sprintf("%d upstreams", n), func(b *testing.B) {
			d := benchDirectory(b, source)
			before := heap()
			var all []*upstream.Upstream
			for i := range n {
				all = append(all, benchUpstream(b, d, fmt.Sprintf("s%d", i), merged(policy.Service{})))
			}
			held := float64(heap()-before) / float64(n) / 1024
			changes := changing(policy.Service{})
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				for _, u := range all {
					if err := u.Apply(changes[i%2]); err != nil {
						b.Fatal(err)
					}
				}
			}
			b.ReportMetric(held, "KiB/upstream")
		})
	}
}

// changing are two policies that differ in a timeout.
func changing(s policy.Service) (changes [2]policy.Effective) {
	for i := range changes {
		s.Timeout.Total = policy.Duration(10+i) * policy.Duration(1e9)
		changes[i] = merged(s)
	}
	return changes
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// BenchmarkApplyToInstances puts a change in force for a service of many
// instances: who is there, and their breakers, stay as they are.
func BenchmarkApplyToInstances(b *testing.B) {
	for _, n := range []int{10, 100, 1000, 10_000} {
		b.Run(fmt.Sprintf("%d instances", n), func(b *testing.B) {
			source := discovery.Static{}
			for i := range n {
				source["web"] = append(source["web"], fmt.Sprintf("10.%d.%d.%d:80", i>>16, i>>8&255, i&255))
			}
			before := heap()
			u := benchUpstream(b, benchDirectory(b, source), "web", merged(policy.Service{}))
			held := float64(heap()-before) / float64(n) / 1024
			changes := changing(policy.Service{})
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if err := u.Apply(changes[i%2]); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(held, "KiB/instance")
		})
	}
}
