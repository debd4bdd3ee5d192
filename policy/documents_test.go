package policy

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestDecodeDocuments(t *testing.T) {
	data, err := os.ReadFile("testdata/documents/shop.yaml")
	if err != nil {
		t.Fatal(err)
	}
	got, err := DecodeDocuments(data, "shop.yaml")
	if err != nil {
		t.Fatal(err)
	}
	want := Documents{
		Defaults: Service{Timeout: Timeout{Total: seconds(2)}},
		Services: map[string]Service{
			"stock": {
				Retry:   Retry{Attempts: 2},
				Subsets: map[string]Subset{"v2": {Filter: "Service.Meta.version == v2"}},
				Routes:  []Route{{Match: Match{PathPrefix: "/v2/"}, To: []Leg{{Target: Target{Subset: "v2"}}}}},
			},
			"prices": {},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if err := got.Validate(); err != nil {
		t.Error(err)
	}
}

func TestDecodeDocumentsRefused(t *testing.T) {
	_, err := DecodeDocuments([]byte(`
$schema: ""
retry: {attempts: 2}
defaults:
  timeout: {perTry: 3s, total: 2s}
  attempts: 3
services:
  stock:
    retry: {attempts: 900}
    probes: 3
  "no such/name!": {routes: [{to: [{subset: v3}]}]}
  "": {}
  prices:
  stock: {}
  $schema: {}
limits: {}
`), "shop.yaml")
	golden(t, "testdata/documents/refused.golden", err.Error()+"\n")
}

func TestDocumentsValidate(t *testing.T) {
	d := Documents{
		Defaults: Service{Retry: Retry{Attempts: 900}},
		Services: map[string]Service{"stock": {Routes: []Route{{Retry: Retry{Attempts: 901}}}}},
	}
	for _, path := range []string{"defaults.retry.attempts: 900", "services.stock.routes[0].retry.attempts: 901"} {
		if err := d.Validate(); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("got %v, want %s in it", err, path)
		}
	}
}
