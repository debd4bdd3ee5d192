package mesh_test

import (
	"cmp"
	"context"
	"fmt"
	"log"
	"net/http"
	"time"

	"github.com/innermesh/innermesh/discovery"
	"github.com/innermesh/innermesh/mesh"
	"github.com/innermesh/innermesh/policy"
)

// Routes that a program brings along, where nobody writes them to Consul: a path
// goes to another service, and a twentieth of all else to a new version of this.
func Example_routes() {
	registry := new(discovery.Memory)
	for service, version := range map[string]string{"inventory": "v1", "inventory-next": "v2"} {
		i := discovery.Instance{ID: service + "-1", Address: "10.0.0.1:80", Meta: map[string]string{"version": version}}
		if err := registry.Set(service, i); err != nil {
			log.Print(err)
			return
		}
	}
	ctx := context.Background()
	m, err := mesh.New(ctx, mesh.Options{
		Service:   "checkout",
		Discovery: registry,
		Pinned: map[string]policy.Service{"inventory": {
			Subsets: map[string]policy.Subset{"v2": {Filter: "Service.Meta.version == v2"}},
			Routes: []policy.Route{
				{
					Name:    "next",
					Match:   policy.Match{PathPrefix: "/v2/"},
					Rewrite: policy.Rewrite{Prefix: "/"},
					Timeout: policy.Timeout{Total: policy.Duration(2 * time.Second)},
					To:      []policy.Leg{{Target: policy.Target{Service: "inventory-next"}}},
				},
				{
					Name: "canary",
					To: []policy.Leg{
						{Weight: 95, Target: policy.Target{Failover: []policy.Target{{Service: "inventory-next"}}}},
						{Weight: 5, Target: policy.Target{Subset: "v2"}},
					},
				},
			},
		}},
	})
	if err != nil {
		log.Print(err)
		return
	}
	defer m.Close(ctx)
	explain(ctx, m, "http://inventory/v2/items/42")
	explain(ctx, m, "http://inventory/items/42")
	// Output:
	// /items/42 takes "next" within "2s", says Options.Pinned, routes[0]
	//   100 % to inventory-next: inventory-next-1
	// /items/42 takes "canary" within "15s", says built-in
	//   95 % to inventory: inventory-1
	//   5 % to inventory subset v2:
}

// explain prints what would become of a request.
func explain(ctx context.Context, m *mesh.Mesh, url string) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		log.Print(err)
		return
	}
	e, err := m.Explain(ctx, req) // fmt.Print(e) tells all of it
	if err != nil {
		log.Print(err)
		return
	}
	for _, term := range e.Terms {
		if term.Path == "timeout.total" {
			fmt.Printf("%s takes %q within %s, says %s\n", e.Path, e.Route, term.Value, term.Origin)
		}
	}
	for _, leg := range e.Legs {
		fmt.Printf("  %.0f %% to %s:", leg.Share*100, leg.Targets[0].Target)
		for _, i := range leg.Targets[0].Instances {
			if i.Out == "" { // else why it is no candidate
				fmt.Print(" ", i.Instance.ID)
			}
		}
		fmt.Println()
	}
}

func ExampleMesh_Explain() {
	ctx := context.Background()
	m, err := mesh.New(ctx, mesh.Options{
		Service:   "checkout",
		Discovery: discovery.Static{"inventory": {"10.0.0.1:80", "10.0.0.2:80"}},
		Defaults:  policy.Service{Retry: policy.Retry{Attempts: 2}},
	})
	if err != nil {
		log.Print(err)
		return
	}
	defer m.Close(ctx)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://inventory/items/42", http.NoBody)
	if err != nil {
		log.Print(err)
		return
	}
	e, err := m.Explain(ctx, req)
	if err != nil {
		log.Print(err)
		return
	}
	for _, term := range e.Terms {
		if term.Origin != "built-in" {
			fmt.Println(term.Path, term.Value, "by", term.Origin)
		}
	}
	for _, i := range e.Legs[0].Targets[0].Instances {
		fmt.Println(i.Instance.ID, cmp.Or(i.Out, "candidate"))
	}
	// Output:
	// timeout.perTry "7.5s" by half of timeout.total
	// retry.attempts 2 by Options.Defaults
	// 10.0.0.1:80 candidate
	// 10.0.0.2:80 candidate
}
