package mesh_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/innermesh/innermesh/call"
	"github.com/innermesh/innermesh/discovery"
	"github.com/innermesh/innermesh/mesh"
	"github.com/innermesh/innermesh/policy"
)

func TestExplain(t *testing.T) {
	registry := new(discovery.Memory)
	set := func(service string, all ...discovery.Instance) {
		if err := registry.Set(service, all...); err != nil {
			t.Fatal(err)
		}
	}
	set("web", discovery.Instance{ID: "a", Address: "10.0.0.1:80"},
		discovery.Instance{ID: "b", Address: "10.0.0.2:80", Health: discovery.Critical})
	set("next", discovery.Instance{ID: "c", Address: "10.0.0.3:80"})
	m := newMesh(t, mesh.Options{
		Discovery: registry,
		Defaults: policy.Service{
			Timeout: policy.Timeout{Total: policy.Off},
			Routes: []policy.Route{{
				Name:    "v2",
				Match:   policy.Match{PathPrefix: "/v2/", Methods: []string{"GET"}},
				Rewrite: policy.Rewrite{Prefix: "/"},
				Retry:   policy.Retry{Attempts: 7},
				To: []policy.Leg{
					{Weight: 90, Target: policy.Target{Failover: []policy.Target{{Service: "next"}}}},
					{Weight: 10, Target: policy.Target{Service: "next"}},
				},
			}},
		},
		Pinned: map[string]policy.Service{"web": {Balancer: policy.Balancer{Policy: policy.RoundRobin}}},
	})
	e, err := m.Explain(limited(t), request(t, http.MethodGet, "http://web/v2/x", nil))
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		"GET /x to web",
		`  takes the route "v2"`,
		"  retry.attempts       7          by Options.Defaults, routes[0]",
		`  timeout.total        "off"      by Options.Defaults`,
		"  90 % of the calls go to",
		"    web: 70 % now",
		"      a                        10.0.0.1:80            candidate",
		"      b                        10.0.0.2:80            its health is critical",
		"    next, to fail over to: 30 % now",
		`      balancer.policy      "round_robin" by Options.Pinned`,
		"  10 % of the calls go to",
	} {
		if !strings.Contains(e.String(), line+"\n") {
			t.Errorf("no line %q", line)
		}
	}
	if t.Failed() {
		t.Log("\n" + e.String())
	}
	if e, err := m.Explain(limited(t), request(t, http.MethodPut, "http://web/v2/x", nil)); err != nil || e.Route != "default" || e.Path != "/v2/x" {
		t.Errorf("what no route fits: %v, %+v", err, e)
	}
	if _, err := m.Explain(limited(t), request(t, http.MethodGet, "http://example.org/", nil)); err == nil {
		t.Error("a host outside the mesh is explained")
	}
}

func TestExplainWaitsNoLongerThanItMay(t *testing.T) {
	m := newMesh(t, mesh.Options{Consul: mesh.ConsulOptions{Address: "127.0.0.1:1"}})
	req := request(t, http.MethodGet, "http://web/", nil)
	ctx, cancel := shortly(t)
	defer cancel()
	_, err := m.Explain(ctx, req)
	if _, is := errors.AsType[*call.Error](err); !is || !errors.Is(err, discovery.ErrNotReady) {
		t.Errorf("got %v", err)
	}
}
