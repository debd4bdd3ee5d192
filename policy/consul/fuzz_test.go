package consul

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/innermesh/innermesh/policy"
)

// Whatever Consul may answer, it is refused or becomes a valid policy that reads
// back as what it is.
func FuzzChain(f *testing.F) {
	samples, err := filepath.Glob("testdata/chains/*.json")
	if err != nil {
		f.Fatal(err)
	}
	for _, sample := range samples {
		body, err := os.ReadFile(sample)
		if err != nil {
			f.Fatal(err)
		}
		var tight bytes.Buffer
		if err := json.Compact(&tight, body); err != nil {
			f.Fatal(err)
		}
		f.Add(tight.Bytes())
	}
	f.Add([]byte(`{"Chain":{"StartNode":"s","Nodes":{"s":{"Type":"splitter","Splits":[null,{"Weight":1e999,"NextNode":"s"}]}}}}`))
	f.Add([]byte(`{"Chain":{"StartNode":"r","Nodes":{"r":{"Type":"router","Routes":[null,{"NextNode":"r"}]}}}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		c, err := decodeChain(body)
		if err != nil {
			return
		}
		s, err := compile(c, false)
		if _, extensionErr := fromMeta(c.ServiceMeta, "innermesh"); err != nil || extensionErr != nil {
			return
		}
		same(t, s)
	})
}

func FuzzEntries(f *testing.F) {
	f.Add([]byte(`{"Config":{"protocol":"http","innermesh":{"retry":{"attempts":2}}},"MeshGateway":{"Mode":"local"}}`),
		[]byte(`{"UpstreamConfig":{"Defaults":{"ConnectTimeoutMs":5,"Limits":{"MaxConnections":0}},"Overrides":[null,{"Name":"api","PassiveHealthCheck":{"Interval":1,"BaseEjectionTime":"1h"}}]}}`))
	f.Add([]byte(``), []byte(`{"UpstreamConfig":null}`))
	f.Fuzz(func(t *testing.T, proxy, caller []byte) {
		p, err := decodeProxyDefaults(proxy)
		if err != nil {
			return
		}
		if s, err := fromConfig(p.Config, "innermesh"); err == nil {
			same(t, s)
		}
		c, err := decodeServiceDefaults(caller)
		if err != nil {
			return
		}
		u, err := mergeUpstream("api", p, c, &calleeDefaults{found: true})
		if err != nil {
			return
		}
		if question := u.overrides(); question != nil && !json.Valid(question) {
			t.Errorf("asks %s", question)
		}
		if s, err := u.service(); err == nil {
			same(t, s)
		}
	})
}

func FuzzMeta(f *testing.F) {
	f.Add("retry.attempts", "2", "retry", `{"budget":{"ratio":0.1}}`)
	f.Add("timeout.total", "2s", "timeout.perTry", "1s")
	f.Add("subsets.v2.filter", "Service.Meta.version == v2", "", "")
	f.Fuzz(func(t *testing.T, key, value, other, otherValue string) {
		meta := map[string]string{"innermesh/" + key: value, "innermesh/" + other: otherValue}
		s, err := fromMeta(meta, "innermesh")
		if err != nil {
			return
		}
		same(t, s)
	})
}

// same wants a policy to be valid, and to read back as what it is.
func same(t *testing.T, s policy.Service) {
	t.Helper()
	if err := s.Validate(); err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	if len(data) > 400<<10 {
		return // too large for a document
	}
	again, err := policy.Decode(data, "fuzz")
	if err != nil {
		t.Fatalf("%v\n%s", err, data)
	}
	if diff := cmp.Diff(s, again); diff != "" {
		t.Error(diff)
	}
}
