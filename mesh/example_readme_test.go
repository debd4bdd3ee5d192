package mesh_test //nolint:testableexamples // it wants a Consul; the others run

import (
	"context"
	"fmt"
	"log"
	"net/http"

	"github.com/innermesh/innermesh/mesh"
	"github.com/innermesh/innermesh/policy"
)

func Example_layers() {
	ctx := context.Background()
	m, err := mesh.New(ctx, mesh.Options{
		Service:     "checkout",
		Defaults:    policy.Service{Retry: policy.Retry{Attempts: 2}}, // Consul may say otherwise
		PolicyFile:  "/etc/checkout/policy.yaml",                      // followed while the program runs
		SnapshotDir: "/var/lib/checkout/mesh",                         // what was known last, for a start without Consul
		Pinned: map[string]policy.Service{"payments": { // nobody may say otherwise
			Retry: policy.Retry{Methods: []string{"/payments.v1.Payments/Get"}},
		}},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close(ctx)
	if err := explainItem(ctx, m); err != nil {
		log.Print(err)
	}
}

func explainItem(ctx context.Context, m *mesh.Mesh) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://inventory/v2/items/42", http.NoBody)
	if err != nil {
		return err
	}
	e, err := m.Explain(ctx, req)
	fmt.Print(e)
	return err
}
