package mesh_test

import (
	"context"
	"net"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/hashicorp/consul/api"

	"github.com/innermesh/innermesh/internal/consultest"
	"github.com/innermesh/innermesh/mesh"
)

// leastPolicy is the one that docs/access.md has, for a service and those it
// calls.
func leastPolicy(t *testing.T, service string) string {
	t.Helper()
	page, err := os.ReadFile("../docs/access.md")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile("(?s)```hcl\n(.*?)```").FindSubmatch(page)
	if found == nil {
		t.Fatal("docs/access.md has no policy")
	}
	return strings.ReplaceAll(string(found[1]), `"shop"`, strconv.Quote(service))
}

// A program registers, discovers, has certificates and follows configuration and
// intentions with exactly what the page says, and goes on with what it knows when
// its token is taken away, telling so.
func TestLeastPolicy(t *testing.T) {
	agent := consultest.Start(t, consultest.Options{Token: "root", Config: `acl { enabled = true default_policy = "deny" token_ttl = "1s" policy_ttl = "1s"
		tokens { initial_management = "root" } }`})
	client := consulClient(t, agent)
	intend(t, agent, "stock", "shop", "allow")
	if _, err := client.KV().Put(&api.KVPair{Key: "innermesh/services/stock", Value: []byte(`{"timeout":{"total":"7s"}}`)}, nil); err != nil {
		t.Fatal(err)
	}
	logs := map[string]*logged{"shop": {}, "stock": {}}
	tokens, members := map[string]*api.ACLToken{}, map[string]*mesh.Mesh{}
	for _, service := range []string{"stock", "shop"} {
		policy, _, err := client.ACL().PolicyCreate(&api.ACLPolicy{Name: service, Rules: leastPolicy(t, service)}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if tokens[service], _, err = client.ACL().TokenCreate(&api.ACLToken{Policies: []*api.ACLLink{{ID: policy.ID}}}, nil); err != nil {
			t.Fatal(err)
		}
		m, err := mesh.New(t.Context(), mesh.Options{
			Service: service, Logger: logs[service].logger(), TLS: mesh.TLSOptions{Consul: true}, SnapshotDir: t.TempDir(), CheckCalls: true,
			Consul: mesh.ConsulOptions{Address: agent.HTTPAddr, Token: tokens[service].SecretID},
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = m.Close(context.Background()) })
		members[service] = m
	}
	addr := servedHTTP(t, members["stock"], http.HandlerFunc(named))
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := members["stock"].Register(limited(t), mesh.Registration{Address: "127.0.0.1", Port: n}); err != nil {
		t.Fatal(err)
	}
	members["stock"].Health().Ready()
	call := func() int { return statusOf(t, members["shop"], "http://stock/items") }
	eventually(t, patience, "a call through all of it", func() bool { return call() == http.StatusOK })
	e, err := members["shop"].Explain(t.Context(), request(t, http.MethodGet, "http://stock/", nil))
	if err != nil || !strings.Contains(strings.Join(strings.Fields(e.String()), " "), "7s") {
		t.Errorf("the document is not in force: %v\n%v", err, e)
	}
	for service, log := range logs {
		if denied := log.count("403") + log.count("Permission denied"); denied > 0 {
			t.Errorf("%s misses a right:\n%s", service, log.text.String())
		}
	}
	for _, token := range tokens {
		if _, err := client.ACL().TokenDelete(token.AccessorID, nil); err != nil {
			t.Fatal(err)
		}
	}
	// Something changes, so that those who wait in Consul hear that they may not.
	intend(t, agent, "stock", "*", "allow")
	const told = `path=/v1/connect/intentions/match error=`
	eventually(t, patience, "it is told", func() bool { return logs["stock"].count(told) > 0 && logs["shop"].count(told) > 0 })
	for range 20 {
		if got := call(); got != http.StatusOK {
			t.Fatalf("what is known is forgotten: %d", got)
		}
	}
	for service, log := range logs {
		for _, token := range tokens {
			if log.count(token.SecretID) > 0 {
				t.Errorf("%s tells its token", service)
			}
		}
		if n := log.count(told); n != 1 {
			t.Errorf("%s tells it %d times:\n%s", service, n, log.text.String())
		}
	}
}
