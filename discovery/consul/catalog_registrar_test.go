package consul

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/innermesh/innermesh/discovery"
	"github.com/innermesh/innermesh/internal/consul"
	"github.com/innermesh/innermesh/internal/consultest"
)

func registerInCatalog(t *testing.T, client *consul.Client, r discovery.Registration) (*catalogKeeper, *journal) {
	t.Helper()
	log := &journal{}
	reg, err := NewCatalogRegistrar(client, slog.New(slog.NewTextHandler(log, nil))).Register(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = reg.Deregister(context.Background()) })
	return reg.(*catalogKeeper), log
}

func TestCatalogRegisterAndDeregister(t *testing.T) {
	agent := consultest.Shared(t)
	client := newClient(t, consul.Options{Address: agent.HTTPAddr, Datacenter: "dc1"})
	r := registrationOf(consultest.Name(t, "web"))
	told := follow(t, New(client, Options{}), r.Service)
	native := follow(t, New(client, Options{Connect: true}), r.Service)
	await(t, told, 5*time.Second, "nobody", count(0))
	k, _ := registerInCatalog(t, client, r)
	u := await(t, told, 5*time.Second, "the instance", passing)
	await(t, native, 5*time.Second, "the instance among those that speak mTLS", passing)
	want := r.Instance
	want.ID, want.Node, want.Datacenter = "innermesh-"+r.Instance.ID+"/"+r.Instance.ID, "innermesh-"+r.Instance.ID, "dc1"
	if got := u.Snapshot.Instances[0]; !got.Equal(want) {
		t.Errorf("registered %+v, found %+v", want, got)
	}
	for range 2 {
		if err := k.Deregister(t.Context()); err != nil {
			t.Error(err)
		}
	}
	await(t, told, 5*time.Second, "that it left", count(0))
	sessions, _, err := theirs(t, agent).Session().Node(k.node, nil)
	if err != nil || len(sessions) != 0 {
		t.Errorf("it has left behind %v, %v", sessions, err)
	}
}

// Whatever the catalog loses of an instance is put back within 10 s.
func TestCatalogForgets(t *testing.T) {
	t.Parallel()
	agent := consultest.Shared(t)
	client := newClient(t, consul.Options{Address: agent.HTTPAddr})
	r := registrationOf(consultest.Name(t, "web"))
	told := follow(t, New(client, Options{}), r.Service)
	k, log := registerInCatalog(t, client, r)
	await(t, told, 5*time.Second, "the instance", passing)
	c := theirs(t, agent)
	remove := func(d api.CatalogDeregistration) func() error {
		return func() error { d.Node = k.node; _, err := c.Catalog().Deregister(&d, nil); return err }
	}
	for name, harm := range map[string]func() error{
		"node":    remove(api.CatalogDeregistration{}),
		"service": remove(api.CatalogDeregistration{ServiceID: k.id}),
		"check":   remove(api.CatalogDeregistration{CheckID: stateID(k.id)}),
		"life":    remove(api.CatalogDeregistration{CheckID: livesID(k.id)}),
		"content": func() error {
			_, err := c.Catalog().Register(&api.CatalogRegistration{Node: k.node, SkipNodeUpdate: true, Service: &api.AgentService{
				ID: k.id, Service: r.Service, Address: "127.0.0.1", Port: 1,
			}}, nil)
			return err
		},
		"session": func() error {
			sessions, _, err := c.Session().Node(k.node, nil)
			if err != nil || len(sessions) != 1 {
				return errors.Join(err, errors.New("want one session"))
			}
			_, err = c.Session().Destroy(sessions[0].ID, nil)
			return err
		},
	} {
		before := log.count("registered again")
		if err := harm(); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		awaitLog(t, log, "registered again", before+1)
		all, _, err := c.Health().Service(r.Service, "", true, nil)
		if err != nil || len(all) != 1 || all[0].Service.Port != 8080 {
			t.Errorf("%s: afterwards there is %+v, %v", name, all, err)
		}
	}
	if n := log.count("registered again"); n > 6 {
		t.Errorf("registered again %d times for 6 losses", n)
	}
}

// Who dies without a word is critical when its time is over, nobody else is, and
// not its successor under the same ID either. Signs of life keep the others.
func TestCatalogDeath(t *testing.T) {
	t.Parallel()
	agent := consultest.Shared(t)
	client := newClient(t, consul.Options{Address: agent.HTTPAddr})
	name := consultest.Name(t, "web")
	named := func(id string) discovery.Registration {
		r := registrationOf(name)
		r.Instance.ID = name + id
		return r
	}
	dead, _ := registerInCatalog(t, client, named("dead"))
	heir, _ := registerInCatalog(t, client, named("heir"))
	_, log := registerInCatalog(t, client, named("living"))
	told := follow(t, New(client, Options{}), name)
	await(t, told, 5*time.Second, "all", count(3))
	dead.stop()
	heir.stop()
	start := time.Now()
	_, heirs := registerInCatalog(t, client, named("heir"))
	in := func(u discovery.Update, h discovery.Health) (ids []string) {
		for _, i := range u.Snapshot.Instances {
			if i.Health == h {
				ids = append(ids, i.ID[strings.LastIndex(i.ID, "/")+1+len(name):])
			}
		}
		return ids
	}
	var bad []string
	await(t, told, 35*time.Second, "that one is dead", func(u discovery.Update) bool {
		bad = in(u, discovery.Critical)
		return strings.Join(bad, " ") == "dead"
	})
	took := time.Since(start)
	if took < 16*time.Second || took > 23*time.Second {
		t.Errorf("it took %v, want about 20 s", took)
	}
	// Until every session of before has expired.
	timer := time.NewTimer(25*time.Second - took)
	defer timer.Stop()
	<-timer.C
	all, _, err := theirs(t, agent).Health().Service(name, "", true, nil)
	if err != nil || len(all) != 2 || log.count("registered again")+heirs.count("registered again") != 0 {
		t.Errorf("%d are passing after 25 s, want 2; registered again %d and %d times; %v", len(all), log.count("registered again"), heirs.count("registered again"), err)
	}
}

// The dead are removed, and not who has come back meanwhile.
func TestCatalogBurial(t *testing.T) {
	agent := consultest.Shared(t)
	client := newClient(t, consul.Options{Address: agent.HTTPAddr})
	r := registrationOf(consultest.Name(t, "web"))
	dead, _ := registerInCatalog(t, client, r)
	other := r
	other.Instance.ID += "-living"
	living, _ := registerInCatalog(t, client, other)
	kill := func() catalogCheck {
		t.Helper()
		dead.stop()
		if _, err := theirs(t, agent).Session().Destroy(dead.session, nil); err != nil {
			t.Fatal(err)
		}
		living.bury(t.Context())
		if len(living.graves.since) != 1 {
			t.Fatalf("the living know of %v", living.graves.since)
		}
		var checks []catalogCheck
		if err := dead.read(t.Context(), "/v1/health/node/", &checks); err != nil {
			t.Fatal(err)
		}
		c, _ := find(checks, livesID(dead.id))
		return c
	}
	found := kill()
	dead, _ = registerInCatalog(t, client, r)
	if err := living.removeDead(t.Context(), found); err == nil {
		t.Error("one that has come back was removed")
	}
	if checks, err := dead.knows(t.Context()); err != nil || checks == nil {
		t.Errorf("who has come back is not there: %v", err)
	}
	kill()
	old := living.graves.since[dead.node]
	old.at = old.at.Add(-11 * time.Minute)
	living.graves.since[dead.node] = old
	living.bury(t.Context())
	nodes, _, err := theirs(t, agent).Catalog().Service(r.Service, "", nil)
	if err != nil || len(nodes) != 1 || nodes[0].Node != living.node {
		t.Errorf("after the burial there are %v, %v", nodes, err)
	}
}

func TestCatalogDue(t *testing.T) {
	grave := func(id, session, forget string) catalogCheck {
		return catalogCheck{Node: "innermesh-" + id, CheckID: livesID(id), ServiceID: id, Definition: definition{"innermesh-" + id + "-" + session, forget}}
	}
	var g graves
	start := time.Now()
	at := func(after time.Duration, dead ...catalogCheck) string {
		var ids []string
		for _, c := range g.due(dead, "innermesh-self", start.Add(after)) {
			ids = append(ids, c.ServiceID)
		}
		return strings.Join(ids, " ")
	}
	foreign := grave("c", "1", "1m")
	foreign.Node = "machine"
	short, long, self := grave("a", "1", "1s"), grave("b", "1", "10m"), grave("self", "1", "1m")
	for _, c := range []struct {
		after time.Duration
		dead  []catalogCheck
		want  string
	}{
		{0, []catalogCheck{short, long, self, foreign}, ""},
		{59 * time.Second, []catalogCheck{short, long, self, foreign}, ""}, // as agents, a minute at least
		{time.Minute, []catalogCheck{short, long, self, foreign}, "a"},
		{2 * time.Minute, []catalogCheck{grave("a", "2", "1s"), long}, ""}, // it lived meanwhile
		{9 * time.Minute, []catalogCheck{grave("a", "2", "1s")}, "a"},
		{11 * time.Minute, []catalogCheck{long}, ""}, // so did this one
		{21 * time.Minute, []catalogCheck{long}, "b"},
	} {
		if got := at(c.after, c.dead...); got != c.want {
			t.Errorf("after %v: %q, want %q", c.after, got, c.want)
		}
	}
}

func TestCatalogStanding(t *testing.T) {
	agent := consultest.Shared(t)
	client := newClient(t, consul.Options{Address: agent.HTTPAddr})
	r := registrationOf(consultest.Name(t, "web"))
	m := newMood(discovery.Critical)
	heard := make(chan string, 10)
	r.Reporter, r.Instance.Weight, r.WarningWeight = m, 10, 3
	r.Maintained = func(reason string) { heard <- reason }
	hears := func(want string) { t.Helper(); hear(t, heard, want) }
	told := follow(t, New(client, Options{}), r.Service)
	k, log := registerInCatalog(t, client, r)
	await(t, told, 5*time.Second, "that it is critical at first", sees(discovery.Critical))
	m.set(discovery.Warning)
	if u := await(t, told, 2*time.Second, "warning", sees(discovery.Warning)); u.Snapshot.Instances[0].Weight != 3 {
		t.Errorf("with weight %d, want 3", u.Snapshot.Instances[0].Weight)
	}
	m.set(discovery.Passing)
	await(t, told, 2*time.Second, "passing", passing)

	if err := k.Maintenance(t.Context(), true, "painting"); err != nil {
		t.Fatal(err)
	}
	hears("painting")
	await(t, told, 2*time.Second, "out of rotation", sees(discovery.Critical))
	if _, err := theirs(t, agent).Catalog().Deregister(&api.CatalogDeregistration{Node: k.node}, nil); err != nil {
		t.Fatal(err)
	}
	awaitLog(t, log, "registered again", 1)
	checks, err := k.knows(t.Context())
	if c, ok := find(checks, maintenanceID(k.id)); err != nil || !ok || c.Notes != "painting" {
		t.Errorf("after it was forgotten: %+v, %v", checks, err)
	}
	if err := k.Maintenance(t.Context(), false, ""); err != nil {
		t.Fatal(err)
	}
	hears("")
	await(t, told, 5*time.Second, "back", passing)
	c := k.maintenanceCheck("inspection") // somebody else's
	_, err = theirs(t, agent).Catalog().Register(&api.CatalogRegistration{Node: k.node, SkipNodeUpdate: true, Check: &api.AgentCheck{
		Node: k.node, CheckID: c.CheckID, Status: c.Status, Notes: c.Notes, ServiceID: c.ServiceID,
	}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	hears("inspection")
	if _, err = theirs(t, agent).Catalog().Deregister(&api.CatalogDeregistration{Node: k.node, CheckID: c.CheckID}, nil); err != nil {
		t.Fatal(err)
	}
	hears("")
	await(t, told, 5*time.Second, "back again", passing)

	if _, err := theirs(t, agent).Catalog().Deregister(&api.CatalogDeregistration{Node: k.node}, nil); err != nil {
		t.Fatal(err)
	}
	if err := k.Drain(t.Context()); err != nil { // although it was forgotten
		t.Fatal(err)
	}
	all, _, err := theirs(t, agent).Health().Service(r.Service, "", false, nil)
	if err != nil || len(all) != 1 || all[0].Checks.AggregatedStatus() != api.HealthCritical {
		t.Errorf("after Drain there is %+v, %v", all, err)
	}
}

func TestCatalogWiped(t *testing.T) {
	t.Parallel()
	agent := consultest.Start(t, consultest.Options{})
	client := newClient(t, consul.Options{Address: agent.HTTPAddr})
	_, log := registerInCatalog(t, client, registrationOf("web"))
	agent.Kill()
	if err := agent.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	told := follow(t, New(newClient(t, consul.Options{Address: agent.HTTPAddr}), Options{}), "web")
	await(t, told, 10*time.Second, "the registration back", passing)
	awaitLog(t, log, "registered again", 1) // it is written after Consul has answered
}

// Another leader counts anew, and nobody falls out of rotation for it.
func TestCatalogLeaderChanges(t *testing.T) {
	t.Parallel()
	cluster := consultest.StartCluster(t, 3, consultest.Options{})
	leader, err := cluster.Leader(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	follower := cluster.Servers[0]
	if follower == leader {
		follower = cluster.Servers[1]
	}
	client := newClient(t, consul.Options{Address: follower.HTTPAddr})
	living := registrationOf("web")
	_, log := registerInCatalog(t, client, living)
	other := living
	other.Instance.ID = "dead"
	dead, _ := registerInCatalog(t, client, other)
	told := follow(t, New(client, Options{Hold: -1}), "web")
	await(t, told, 5*time.Second, "both", count(2))
	dead.stop()
	leader.Kill()
	start := time.Now()
	if _, err = cluster.Leader(t.Context()); err != nil {
		t.Fatal(err)
	}
	elected := time.Since(start)
	health := func(u discovery.Update, id string) (h discovery.Health) {
		for _, i := range u.Snapshot.Instances {
			if strings.HasSuffix(i.ID, "/"+id) {
				return i.Health
			}
		}
		return discovery.Critical
	}
	lost := false
	await(t, told, 2*time.Minute, "that one is dead", func(u discovery.Update) bool {
		lost = lost || u.Err == nil && health(u, "web-1") != discovery.Passing
		return u.Err == nil && health(u, "dead") == discovery.Critical
	})
	if lost || log.count("registered again") != 0 {
		t.Errorf("the living one was lost: %v, and registered again %d times", lost, log.count("registered again"))
	}
	t.Logf("elected after %v, dead after %v", elected, time.Since(start))
	if took := time.Since(start); took > elected+time.Minute { // twice as long as on a machine that has nothing else to do
		t.Errorf("it took %v", took)
	}
}

// The rights that are documented are enough, and without them it says so.
func TestCatalogRights(t *testing.T) {
	agent := consultest.Start(t, consultest.Options{
		Config: `acl { enabled = true default_policy = "deny" tokens { initial_management = "root" agent = "root" } }`,
		Token:  "root",
	})
	acl := theirs(t, agent).ACL()
	token := func(name, rules string) string {
		t.Helper()
		policy, _, err := acl.PolicyCreate(&api.ACLPolicy{Name: name, Rules: rules}, nil)
		if err != nil {
			t.Fatal(err)
		}
		made, _, err := acl.TokenCreate(&api.ACLToken{Policies: []*api.ACLLink{{ID: policy.ID}}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		return made.SecretID
	}
	const enough = `service "web" { policy = "write" } node_prefix "innermesh-" { policy = "write" } session_prefix "innermesh-" { policy = "write" }`
	for name, rules := range map[string]string{
		"none":       ``,
		"no-node":    `service "web" { policy = "write" } session_prefix "" { policy = "write" }`,
		"no-session": `service "web" { policy = "write" } node_prefix "" { policy = "write" }`,
		"no-service": `node_prefix "" { policy = "write" } session_prefix "" { policy = "write" }`,
	} {
		client := newClient(t, consul.Options{Address: agent.HTTPAddr, Token: token(name, rules)})
		_, err := NewCatalogRegistrar(client, slog.New(slog.DiscardHandler)).Register(t.Context(), registrationOf("web"))
		if !errors.Is(err, ErrPermission) {
			t.Errorf("%s: %v", name, err)
		}
		nodes, _, err := theirs(t, agent).Catalog().Service("web", "", nil)
		if err != nil || len(nodes) != 0 {
			t.Errorf("%s: left behind %v, %v", name, nodes, err)
		}
	}
	client := newClient(t, consul.Options{Address: agent.HTTPAddr, Token: token("enough", enough)})
	k, _ := registerInCatalog(t, client, registrationOf("web"))
	other := registrationOf("web")
	other.Instance.ID = "dead"
	dead, _ := registerInCatalog(t, client, other)
	if again, err := k.reconcile(t.Context()); again || err != nil {
		t.Errorf("keeping: %v, %v", again, err)
	}
	dead.stop()
	if _, err := theirs(t, agent).Session().Destroy(dead.session, nil); err != nil {
		t.Fatal(err)
	}
	k.bury(t.Context())
	for node, d := range k.graves.since {
		d.at = d.at.Add(-time.Hour)
		k.graves.since[node] = d
	}
	k.bury(t.Context())
	if nodes, _, err := theirs(t, agent).Catalog().Service("web", "", nil); err != nil || len(nodes) != 1 {
		t.Errorf("after the burial: %v, %v", nodes, err)
	}
	if err := k.Drain(t.Context()); err != nil {
		t.Error(err)
	}
	if err := k.Deregister(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestCatalogIsNotProbed(t *testing.T) {
	client := newClient(t, consul.Options{Address: "127.0.0.1:1"})
	r := registrationOf("web")
	r.CheckHTTP, r.CheckGRPC, r.TTL = "http://127.0.0.1:1", "127.0.0.1:1", -1
	_, err := NewCatalogRegistrar(client, nil).Register(t.Context(), r)
	for _, part := range []string{"CheckHTTP: nobody probes", "CheckGRPC: nobody probes", "TTL"} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%v does not name %s", err, part)
		}
	}
}
