package intention_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/innermesh/innermesh/inbound/intention"
	"github.com/innermesh/innermesh/internal/consul"
	"github.com/innermesh/innermesh/internal/consultest"
	"github.com/innermesh/innermesh/tlsutil"
)

func TestJudgeKeepsWhatIsGood(t *testing.T) {
	var log bytes.Buffer
	o := intention.Options{Service: "web", TrustDomain: domain}
	j, err := intention.NewJudge(o, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	if d := j.Decide(caller("batch"), get("/")); d.Admit() || d.Reason != intention.NoRules {
		t.Errorf("without rules: %v", d)
	}
	if d := j.DecideConnection(caller("batch")); d.Admit() || d.Reason != intention.NoRules {
		t.Errorf("without rules: %v", d)
	}
	if err := j.Accept([]intention.Intention{l4("batch", "web", "allow")}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := j.Accept([]intention.Intention{l4("batch", "stock", "deny")}); err == nil {
			t.Error("intentions of another service are accepted")
		}
	}
	if d := j.Decide(caller("batch"), get("/")); !d.Admit() {
		t.Errorf("bad rules have replaced good ones: %v", d)
	}
	for range 2 {
		if err := j.Accept([]intention.Intention{l4("batch", "web", "log")}); err != nil {
			t.Error(err)
		}
	}
	if n := strings.Count(log.String(), "level=ERROR"); n != 2 {
		t.Errorf("%d errors told, want one each:\n%v", n, &log)
	}
	o.WithoutRules = intention.Allow
	if j, err = intention.NewJudge(o, nil); err != nil {
		t.Fatal(err)
	}
	foreign := tlsutil.ServiceID{TrustDomain: "other", Service: "batch"}
	if !j.DecideConnection(caller("batch")).Admit() || j.DecideConnection(foreign).Admit() || j.Decide(foreign, get("/")).Admit() {
		t.Error("open without rules, but not for strangers")
	}
	if _, err := intention.NewJudge(intention.Options{}, nil); err == nil {
		t.Error("options are not looked at")
	}
}

// Generated intentions, judged by Consul itself and by us as they are followed.
func TestConsulAgreesOnConnections(t *testing.T) {
	agent := consultest.Start(t, consultest.Options{}) // an intention on "*" is everybody's
	client, err := agent.Client()
	if err != nil {
		t.Fatal(err)
	}
	roots, _, err := client.Agent().ConnectCARoots(nil)
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	watcher, err := consul.New(consul.Options{Address: agent.HTTPAddr, Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	defer watcher.Close()
	random := rand.New(rand.NewPCG(1, 2)) // the same cases each time
	actions := []api.IntentionAction{api.IntentionActionAllow, api.IntentionActionDeny}
	sources := []string{"a", "b", "c", "d", "*"}
	write := func(name string) {
		entry := &api.ServiceIntentionsConfigEntry{Kind: api.ServiceIntentions, Name: name}
		for _, source := range sources {
			if random.IntN(3) > 0 {
				entry.Sources = append(entry.Sources, &api.SourceIntention{Name: source, Action: actions[random.IntN(2)]})
			}
		}
		if len(entry.Sources) == 0 {
			return
		}
		if _, _, err := client.ConfigEntries().Set(entry, nil); err != nil {
			t.Fatal(err)
		}
	}
	write("*")
	decided, denied := 0, 0
	for n := range 25 {
		name := fmt.Sprintf("web-%d", n)
		write(name)
		j, err := intention.NewJudge(intention.Options{Service: name, TrustDomain: roots.TrustDomain, Default: intention.Allow}, log)
		if err != nil {
			t.Fatal(err)
		}
		stop := follow(t, j, watcher, roots.TrustDomain)
		for _, source := range append(sources[:4:4], "e") {
			id := tlsutil.ServiceID{TrustDomain: roots.TrustDomain, Datacenter: "dc1", Service: source}
			uri, err := id.ID()
			if err != nil {
				t.Fatal(err)
			}
			theirs, err := client.Agent().ConnectAuthorize(&api.AgentAuthorizeParams{Target: name, ClientCertURI: uri.String(), ClientCertSerial: "0"})
			if err != nil {
				t.Fatal(err)
			}
			ours := j.DecideConnection(id)
			if ours.Allowed != theirs.Authorized {
				t.Errorf("%s to %s: we say %v, Consul %v: %s", source, name, ours, theirs.Authorized, theirs.Reason)
			}
			if decided++; !ours.Allowed {
				denied++
			}
		}
		stop()
	}
	if decided != 125 || denied < 10 || denied > 115 {
		t.Errorf("%d of %d denied: that shows nothing", denied, decided)
	}
}

// follow returns when the judge has rules.
func follow(t *testing.T, j *intention.Judge, client *consul.Client, trustDomain string) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- j.Follow(ctx, client, nil) }()
	probe := tlsutil.ServiceID{TrustDomain: trustDomain, Service: "probe"}
	await(t, "rules", func() bool { return j.DecideConnection(probe).Reason != intention.NoRules })
	return func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}
}

// await polls a condition that another process brings about.
func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-ctx.Done():
			t.Fatalf("not in time: %s", what)
		case <-tick.C:
		}
	}
}

// A change in Consul is in force soon, and so is the end of the last intention.
func TestConsulIsFollowed(t *testing.T) {
	agent := consultest.Shared(t)
	client, err := agent.Client()
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	watcher, err := consul.New(consul.Options{Address: agent.HTTPAddr, Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	defer watcher.Close()
	name := consultest.Name(t, "web")
	j, err := intention.NewJudge(intention.Options{Service: name, TrustDomain: domain, Default: intention.Allow}, log)
	if err != nil {
		t.Fatal(err)
	}
	defer follow(t, j, watcher, domain)()
	if _, _, err := client.ConfigEntries().Set(&api.ServiceConfigEntry{Kind: api.ServiceDefaults, Name: name, Protocol: "http"}, nil); err != nil {
		t.Fatal(err)
	}
	for _, action := range []api.IntentionAction{api.IntentionActionDeny, api.IntentionActionAllow, api.IntentionActionDeny} {
		entry := &api.ServiceIntentionsConfigEntry{Kind: api.ServiceIntentions, Name: name, Sources: []*api.SourceIntention{{
			Name: "batch", Permissions: []*api.IntentionPermission{{Action: action, HTTP: &api.IntentionHTTPPermission{PathPrefix: "/admin"}}},
		}}}
		if _, _, err := client.ConfigEntries().Set(entry, nil); err != nil {
			t.Fatal(err)
		}
		await(t, string(action), func() bool {
			d := j.Decide(caller("batch"), get("/admin/x"))
			return d.Reason == intention.ByPermission && d.Allowed == (action == api.IntentionActionAllow)
		})
		if d := j.Decide(caller("batch"), get("/")); !d.Allowed || d.Reason != intention.ByDefault {
			t.Error(d)
		}
	}
	if _, err := client.ConfigEntries().Delete(api.ServiceIntentions, name, nil); err != nil {
		t.Fatal(err)
	}
	await(t, "no intentions", func() bool { return j.Decide(caller("batch"), get("/admin/x")).Allowed })
}
