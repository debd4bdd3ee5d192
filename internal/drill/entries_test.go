package drill

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/consul/api"
)

// protocols are the names of a service, over HTTP and over gRPC, with what its
// service-defaults say of it.
func protocols(service string) map[string]string {
	return map[string]string{service: "http", service + "-grpc": "grpc"}
}

// write puts config entries into Consul for both names of the service.
func (s *stage) write(entries func(name string) []api.ConfigEntry) {
	s.t.Helper()
	for _, name := range slices.Sorted(maps.Keys(protocols(s.service))) {
		for _, e := range entries(name) {
			if ok, _, err := s.consul.ConfigEntries().Set(e, nil); err != nil || !ok {
				s.t.Fatalf("write %s %s: %v", e.GetKind(), e.GetName(), err)
			}
		}
	}
}

// speak says which protocols a service speaks.
func (s *stage) speak(service string) {
	s.t.Helper()
	for name, protocol := range protocols(service) {
		e := &api.ServiceConfigEntry{Kind: api.ServiceDefaults, Name: name, Protocol: protocol}
		if ok, _, err := s.consul.ConfigEntries().Set(e, nil); err != nil || !ok {
			s.t.Fatalf("write service-defaults %s: %v", name, err)
		}
	}
}

// subsets are made of the versions of backends.
func subsets(versions ...string) map[string]api.ServiceResolverSubset {
	all := map[string]api.ServiceResolverSubset{}
	for _, v := range versions {
		all[v] = api.ServiceResolverSubset{Filter: "Service.Meta.version == " + v}
	}
	return all
}

// inForce is how soon what was written is in force: a second, and as much again
// on a machine that has other tests to run.
const inForce = 2 * time.Second

// split writes how many percent of the calls each version gets, and returns when
// that is in force.
func (s *stage) split(weights map[string]float32) {
	s.t.Helper()
	s.write(func(name string) []api.ConfigEntry {
		e := &api.ServiceSplitterConfigEntry{Kind: api.ServiceSplitter, Name: name}
		for _, v := range slices.Sorted(maps.Keys(weights)) {
			e.Splits = append(e.Splits, api.ServiceSplit{Weight: weights[v], ServiceSubset: v})
		}
		return []api.ConfigEntry{e}
	})
	took := s.await(inForce, "the split is in force", func() bool {
		for name := range protocols(s.service) {
			shares := s.shares(name)
			for v, weight := range weights {
				if d := shares[v] - float64(weight)/100; d > 1e-9 || d < -1e-9 {
					return false
				}
			}
		}
		return true
	})
	s.t.Logf("%v in force after %v", weights, took.Round(time.Millisecond))
}

// shares are the parts of a service's calls that each target would get now: by
// subset, or by service where it is all of one.
func (s *stage) shares(name string) map[string]float64 {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, "http://"+name+"/", http.NoBody)
	if err != nil {
		s.t.Fatal(err)
	}
	e, err := s.mesh.Explain(s.t.Context(), req)
	if err != nil {
		s.t.Fatal(err)
	}
	shares := map[string]float64{}
	for _, l := range e.Legs {
		for _, t := range l.Targets {
			service, subset, found := strings.Cut(t.Target, " subset ")
			if !found {
				subset = strings.TrimSuffix(service, "-grpc")
			}
			shares[subset] += l.Share * t.Share
		}
	}
	return shares
}

// draw counts the answers to that many calls of each protocol, by version.
func (s *stage) draw(calls int) []map[string]int {
	s.t.Helper()
	for _, l := range s.loads {
		l.count()
	}
	var all []map[string]int
	for _, l := range s.loads {
		s.await(30*time.Second, "enough calls over "+l.name, func() bool {
			_, n := l.counted()
			return n >= calls
		})
		by, _ := l.counted()
		all = append(all, by)
	}
	return all
}
