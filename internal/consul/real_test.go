package consul

import (
	"context"
	"errors"
	"strconv"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/innermesh/innermesh/internal/consultest"
)

func realClient(t *testing.T, a *consultest.Agent, o Options) (*Client, *api.Client) {
	t.Helper()
	clearEnv(t)
	o.Address = a.HTTPAddr
	theirs, err := a.Client()
	if err != nil {
		t.Fatal(err)
	}
	return newClient(t, o), theirs
}

// follow watches a key until the test ends.
func follow(t *testing.T, c *Client, key string) <-chan KV {
	t.Helper()
	told := make(chan KV, 100)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = c.WatchKV(ctx, key, func(kv KV) { told <- kv })
	}()
	t.Cleanup(func() { cancel(); <-done })
	return told
}

// await returns the first update that is wanted, within the time.
func await[T any](t *testing.T, told <-chan T, within time.Duration, what string, wanted func(T) bool) T {
	t.Helper()
	timer := time.NewTimer(within)
	defer timer.Stop()
	for {
		select {
		case v := <-told:
			if wanted(v) {
				return v
			}
		case <-timer.C:
			t.Fatalf("not told within %v: %s", within, what)
		}
	}
}

func value(want string) func(KV) bool {
	return func(kv KV) bool { return kv.Err == nil && kv.Found && string(kv.Value) == want }
}

func gone(kv KV) bool { return kv.Err == nil && !kv.Found }

func TestRealKV(t *testing.T) {
	c, theirs := realClient(t, consultest.Shared(t), Options{})
	key := consultest.Name(t, "a-key/with+signs&%?") + "/end"
	put := func(v string) {
		if _, err := theirs.KV().Put(&api.KVPair{Key: key, Value: []byte(v)}, nil); err != nil {
			t.Fatal(err)
		}
	}
	told := follow(t, c, key)
	await(t, told, 5*time.Second, "absent", gone)
	put("one")
	kv := await(t, told, 5*time.Second, "one", value("one"))
	if kv.Index == 0 {
		t.Error("no index")
	}
	put("one")
	put("two")
	if kv := await(t, told, 5*time.Second, "two", func(KV) bool { return true }); !value("two")(kv) {
		t.Errorf("after writing the same again: %+v", kv)
	}
	if _, err := theirs.KV().Delete(key, nil); err != nil {
		t.Fatal(err)
	}
	await(t, told, 5*time.Second, "deleted", gone)
	put("three")
	await(t, told, 5*time.Second, "three", value("three"))
}

func TestRealAgentLosesItsMemory(t *testing.T) {
	a := consultest.Start(t, consultest.Options{})
	c, theirs := realClient(t, a, Options{})
	put := func(v string) {
		if _, err := theirs.KV().Put(&api.KVPair{Key: "k", Value: []byte(v)}, nil); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 50 { // so that the index is well above that of a fresh server
		put(strconv.Itoa(i))
	}
	told := follow(t, c, "k")
	await(t, told, 5*time.Second, "49", value("49"))
	a.Kill()
	kv := await(t, told, 10*time.Second, "the error", func(kv KV) bool { return kv.Err != nil })
	if !errors.Is(kv.Err, ErrUnreachable) {
		t.Errorf("told %v", kv.Err)
	}
	if err := a.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	await(t, told, 40*time.Second, "that the key is gone", gone)
	put("new")
	await(t, told, 5*time.Second, "new", value("new"))
}

func TestRealRestoreFromSnapshot(t *testing.T) {
	a := consultest.Start(t, consultest.Options{})
	c, theirs := realClient(t, a, Options{Wait: 2 * time.Second}) // the wait bounds how long it goes unseen
	put := func(v string) {
		if _, err := theirs.KV().Put(&api.KVPair{Key: "k", Value: []byte(v)}, nil); err != nil {
			t.Fatal(err)
		}
	}
	put("before")
	snapshot, _, err := theirs.Snapshot().Save(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer snapshot.Close()
	for i := range 20 {
		put(strconv.Itoa(i))
	}
	told := follow(t, c, "k")
	await(t, told, 5*time.Second, "19", value("19"))
	if err := theirs.Snapshot().Restore(nil, snapshot); err != nil {
		t.Fatal(err)
	}
	await(t, told, 20*time.Second, "before", value("before"))
	put("after")
	await(t, told, 5*time.Second, "after", value("after"))
}

func TestRealPermission(t *testing.T) {
	a := consultest.Start(t, consultest.Options{
		Config: `acl { enabled = true default_policy = "deny" tokens { initial_management = "root" agent = "root" } }`,
		Token:  "root",
	})
	c, theirs := realClient(t, a, Options{Token: "nobody"})
	kv := await(t, follow(t, c, "k"), 10*time.Second, "the refusal", func(KV) bool { return true })
	if !errors.Is(kv.Err, ErrPermission) {
		t.Errorf("told %+v", kv)
	}
	if _, err := theirs.KV().Put(&api.KVPair{Key: "k", Value: []byte("v")}, nil); err != nil {
		t.Fatal(err)
	}
	root, _ := realClient(t, a, Options{Token: "root"})
	await(t, follow(t, root, "k"), 10*time.Second, "the value", value("v"))
	if dc, err := c.Datacenter(t.Context()); err == nil {
		t.Logf("an unknown token may ask for the datacenter: %s", dc)
	}
	if dc, err := root.Datacenter(t.Context()); err != nil || dc != "dc1" {
		t.Errorf("datacenter %q, %v", dc, err)
	}
}

// A token that may not see an instance's node gets an empty list, and one that
// nobody knows gets no answer at all from the agent's cache.
func TestRealPermissionForInstances(t *testing.T) {
	a := consultest.Start(t, consultest.Options{
		Config: `acl { enabled = true default_policy = "deny" tokens { initial_management = "root" agent = "root" } }`,
		Token:  "root",
	})
	_, theirs := realClient(t, a, Options{})
	if err := theirs.Agent().ServiceRegister(&api.AgentServiceRegistration{Name: "web", Port: 80}); err != nil {
		t.Fatal(err)
	}
	token := func(rules string) string {
		p, _, err := theirs.ACL().PolicyCreate(&api.ACLPolicy{Name: consultest.Name(t, "p"), Rules: rules}, nil)
		if err != nil {
			t.Fatal(err)
		}
		made, _, err := theirs.ACL().TokenCreate(&api.ACLToken{Policies: []*api.ACLLink{{ID: p.ID}}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		return made.SecretID
	}
	ask := func(token string) Result {
		c, _ := realClient(t, a, Options{Token: token})
		ctx, cancel := context.WithCancel(t.Context())
		told, done := make(chan Result, 10), make(chan struct{})
		go func() {
			defer close(done)
			_ = c.Watch(ctx, webs, func(r Result) { told <- r })
		}()
		r := await(t, told, 20*time.Second, "an answer to "+token, func(Result) bool { return true })
		cancel()
		<-done
		return r
	}
	const services = `service_prefix "" { policy = "read" }`
	for rules, ok := range map[string]bool{services: false, services + ` node_prefix "" { policy = "read" }`: true} {
		r := ask(token(rules))
		if ok && (r.Err != nil || emptyList(r.Body)) || !ok && !errors.Is(r.Err, ErrPermission) {
			t.Errorf("with %s: %+v", rules, r)
		}
	}
	if r := ask("nobody"); !errors.Is(r.Err, ErrPermission) {
		t.Errorf("with an unknown token: %+v", r)
	}
}

func TestRealEndpoints(t *testing.T) {
	c, theirs := realClient(t, consultest.Shared(t), Options{})
	name := consultest.Name(t, "web")
	for _, q := range []Query{
		{Path: "/v1/health/service/" + name, Read: Cached, ConfirmEmpty: true},
		{Path: "/v1/health/connect/" + name, Read: Cached},
		{Path: "/v1/discovery-chain/" + name, Read: Cached},
		{Path: "/v1/config/service-defaults/" + name},
		{Path: "/v1/agent/connect/ca/roots", Read: Cached},
		{Path: "/v1/kv/" + name},
	} {
		t.Run(q.Path, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			told := make(chan Result, 100)
			done := make(chan error, 1)
			go func() { done <- c.Watch(ctx, q, func(r Result) { told <- r }) }()
			r := await(t, told, 5*time.Second, "an answer", func(Result) bool { return true })
			if r.Err != nil || r.Index == 0 {
				t.Errorf("told %+v", r)
			}
			start := time.Now()
			cancel()
			<-done
			if took := time.Since(start); took > time.Second {
				t.Errorf("the watch took %v to end", took)
			}
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	told, done := make(chan Result, 100), make(chan struct{})
	go func() {
		defer close(done)
		_ = c.Watch(ctx, Query{Path: "/v1/health/service/" + name, Read: Cached, ConfirmEmpty: true}, func(r Result) { told <- r })
	}()
	empty := func(r Result) bool { return r.Err == nil && emptyList(r.Body) }
	await(t, told, 5*time.Second, "nobody", empty)
	if err := theirs.Agent().ServiceRegister(&api.AgentServiceRegistration{Name: name, Port: 80}); err != nil {
		t.Fatal(err)
	}
	await(t, told, 5*time.Second, "one", func(r Result) bool { return r.Err == nil && !emptyList(r.Body) })
	if err := theirs.Agent().ServiceDeregister(name); err != nil {
		t.Fatal(err)
	}
	await(t, told, 5*time.Second, "confirmed empty", empty)
	cancel()
	<-done
}
