package consul

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/innermesh/innermesh/internal/consul"
	"github.com/innermesh/innermesh/internal/consultest"
	"github.com/innermesh/innermesh/policy"
)

// server is a real Consul.
type server struct {
	*consultest.Agent
	token string
}

// write puts config entries in force.
func (r server) write(t *testing.T, entries ...any) {
	t.Helper()
	for _, e := range entries {
		body, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		r.do(t, http.MethodPut, "/v1/config", string(body))
	}
}

func (r server) do(t *testing.T, method, path, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://"+r.HTTPAddr+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Consul-Token", r.token)
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		var message strings.Builder
		_ = resp.Write(&message)
		t.Fatalf("%s %s %s: %s", method, path, body, message.String())
	}
}

// follow tells what caller learns of a service, until the test ends.
func (r server) follow(t *testing.T, token, caller, service string) <-chan Update {
	t.Helper()
	client, err := consul.New(consul.Options{Address: r.HTTPAddr, Token: token, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	told := make(chan Update, 100)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = New(client, Options{Service: caller}).Watch(ctx, service, func(u Update) { told <- u })
	}()
	t.Cleanup(func() {
		cancel()
		<-done
		client.Close()
	})
	return told
}

// await returns the first update that is wanted. What was written is in force
// within a second; a loaded machine is given more.
func await(t *testing.T, told <-chan Update, what string, wanted func(Update) bool) Update {
	t.Helper()
	begin := time.Now()
	late := time.NewTimer(20 * time.Second)
	defer late.Stop()
	var last Update
	for {
		select {
		case last = <-told:
			if wanted(last) {
				t.Logf("%s: after %v", what, time.Since(begin).Round(time.Millisecond))
				return last
			}
		case <-late.C:
			t.Fatalf("never told: %s; last was %+v", what, last)
		}
	}
}

type entryOf map[string]any

func TestRealEntries(t *testing.T) {
	r := server{Agent: consultest.Shared(t)}
	web, api, shop := consultest.Name(t, "web"), consultest.Name(t, "api"), consultest.Name(t, "shop")
	told := r.follow(t, "", shop, web)
	u := await(t, told, "nothing yet", func(u Update) bool { return u.Err == nil })
	if u.Entries.Service.Routes != nil || u.Entries.Service.HTTP.Protocol != "" {
		t.Errorf("entries %+v", u.Entries)
	}
	r.write(t,
		entryOf{"Kind": "service-defaults", "Name": web, "Protocol": "http", "Meta": map[string]string{"innermesh/retry.budget": `{"ratio": 0.1}`, "team": "a"}},
		entryOf{"Kind": "service-defaults", "Name": api, "Protocol": "http"},
		entryOf{"Kind": "service-resolver", "Name": web, "Subsets": entryOf{"v1": entryOf{"Filter": "Service.Meta.version == v1"}, "v2": entryOf{"Filter": "Service.Meta.version == v2", "OnlyPassing": true}}},
		entryOf{"Kind": "service-splitter", "Name": web, "Splits": []entryOf{{"Weight": 90.5, "ServiceSubset": "v1"}, {"Weight": 9.5, "ServiceSubset": "v2"}}},
		entryOf{"Kind": "service-router", "Name": web, "Routes": []entryOf{{
			"Match":       entryOf{"HTTP": entryOf{"PathPrefix": "/api/"}},
			"Destination": entryOf{"Service": api, "RequestTimeout": "3s", "NumRetries": 2, "RetryOn": []string{"5xx"}},
		}}},
		entryOf{"Kind": "service-defaults", "Name": shop, "UpstreamConfig": entryOf{
			"Defaults":  entryOf{"Limits": entryOf{"MaxConnections": 20, "MaxPendingRequests": 2}},
			"Overrides": []entryOf{{"Name": web, "Limits": entryOf{"MaxConcurrentRequests": 0}, "PassiveHealthCheck": entryOf{"MaxFailures": 3, "Interval": "2s"}, "ConnectTimeoutMs": 1500}},
		}},
	)
	u = await(t, told, "all entries", func(u Update) bool {
		s := u.Entries.Service
		return u.Err == nil && len(s.Routes) == 2 && s.Limits.Concurrency != 0 && s.Routes[0].To[0].Connect != 0
	})
	s := u.Entries.Service
	if s.Timeout.Connect != 15e8 || s.Limits.Concurrency != policy.None || s.Limits.Connections != 0 || s.Ejection.Failures != 3 || s.Ejection.Interval != 2e9 {
		t.Errorf("service %+v", s)
	}
	if first := s.Routes[0]; first.Name != "/api/*" || first.To[0].Service != api || first.Timeout.Total != 3e9 || first.Retry.Attempts != 3 || first.To[0].Connect != 15e8 {
		t.Errorf("first route %+v", first)
	}
	if legs := s.Routes[1].To; len(legs) != 2 || legs[0].Hundredths() != 9050 || legs[1].Hundredths() != 950 || legs[1].Subset != "v2" || !legs[1].OnlyPassing {
		t.Errorf("legs %+v", legs)
	}
	if u.Extension.Service.Retry.Budget.Ratio != 0.1 || u.Index == 0 {
		t.Errorf("extension %+v, index %d", u.Extension, u.Index)
	}

	r.write(t, entryOf{"Kind": "service-splitter", "Name": web, "Splits": []entryOf{{"Weight": 0, "ServiceSubset": "v1"}, {"Weight": 100, "ServiceSubset": "v2"}}})
	u = await(t, told, "all to v2", func(u Update) bool { return u.Err == nil && u.Entries.Service.Routes[1].To[0].Hundredths() == 0 })
	if legs := u.Entries.Service.Routes[1].To; len(legs) != 2 || legs[1].Hundredths() != 10000 {
		t.Errorf("legs %+v", legs)
	}

	r.write(t, entryOf{"Kind": "service-defaults", "Name": web, "Protocol": "http", "Meta": map[string]string{"innermesh/retry.bugdet": `{"ratio": 0.1}`}})
	u = await(t, told, "a bad extension", func(u Update) bool { return u.Err != nil })
	if !strings.Contains(u.Err.Error(), `Meta["innermesh/retry.bugdet"]: unknown field`) {
		t.Error(u.Err)
	}
	r.write(t, entryOf{"Kind": "service-defaults", "Name": web, "Protocol": "http", "Meta": map[string]string{"innermesh/retry.attempts": "2"}})
	await(t, told, "a good extension", func(u Update) bool { return u.Err == nil && u.Extension.Service.Retry.Attempts == 2 })

	r.write(t, entryOf{"Kind": "service-router", "Name": web, "Routes": []entryOf{{"Match": entryOf{"HTTP": entryOf{"PathRegex": "(?<!x)y"}}, "Destination": entryOf{"Service": api}}}})
	u = await(t, told, "a bad regular expression", func(u Update) bool { return u.Err != nil })
	if !strings.Contains(u.Err.Error(), "pathRegex: is not an RE2 expression") {
		t.Error(u.Err)
	}
	for _, gone := range []string{"service-router", "service-splitter", "service-resolver"} {
		r.do(t, http.MethodDelete, "/v1/config/"+gone+"/"+web, "")
	}
	await(t, told, "no routing any more", func(u Update) bool { return u.Err == nil && u.Entries.Service.Routes == nil })
}

// The protocol of proxy-defaults is read by sidecars where the chain alone would
// say tcp, and so it is here.
func TestRealProxyDefaults(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a Consul of its own")
	}
	r := server{Agent: consultest.Start(t, consultest.Options{})}
	r.write(t,
		entryOf{"Kind": "proxy-defaults", "Name": "global", "Config": entryOf{"protocol": "http", "innermesh": entryOf{"timeout": entryOf{"total": "4s"}, "retry": entryOf{"attempts": 2}}}},
		entryOf{"Kind": "service-defaults", "Name": "web", "MaxInboundConnections": 5},
		entryOf{"Kind": "service-splitter", "Name": "other", "Splits": []entryOf{{"Weight": 100}}},
	)
	told := r.follow(t, "", "shop", "web")
	u := await(t, told, "the first answer", func(u Update) bool { return true })
	if u.Err != nil || u.Entries.Service.HTTP.Protocol != policy.HTTP1 || u.Defaults.Service.Timeout.Total != 4e9 || u.Defaults.Service.Retry.Attempts != 2 {
		t.Errorf("%+v", u)
	}
	r.write(t, entryOf{"Kind": "service-defaults", "Name": "shop", "UpstreamConfig": entryOf{"Defaults": entryOf{"Protocol": "grpc"}}})
	await(t, told, "protocol of the caller", func(u Update) bool { return u.Err == nil && u.Entries.Service.HTTP.Protocol == policy.HTTP2 })
	r.do(t, http.MethodDelete, "/v1/config/service-defaults/shop", "")
	await(t, told, "protocol of all", func(u Update) bool { return u.Err == nil && u.Entries.Service.HTTP.Protocol == policy.HTTP1 })
	r.write(t, entryOf{"Kind": "proxy-defaults", "Name": "global", "Config": entryOf{"protocol": "http", "innermesh": entryOf{"timeout": entryOf{"totals": "4s"}}}})
	u = await(t, told, "bad defaults", func(u Update) bool { return u.Err != nil })
	if !strings.Contains(u.Err.Error(), `proxy-defaults: Config.innermesh: timeout.totals: unknown field`) {
		t.Error(u.Err)
	}
}

// A token without rights for the entries still gets the chain of what it may
// call, and the reason why the rest is missing.
func TestRealPermissions(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a Consul of its own")
	}
	r := server{token: "root", Agent: consultest.Start(t, consultest.Options{
		Config: `acl { enabled = true default_policy = "deny" tokens { initial_management = "root" } }`, Token: "root",
	})}
	const secret = "11111111-2222-3333-4444-555555555555"
	r.do(t, http.MethodPut, "/v1/acl/policy", `{"Name": "web", "Rules": "service \"web\" { policy = \"read\" }"}`)
	r.do(t, http.MethodPut, "/v1/acl/token", `{"SecretID": "`+secret+`", "Policies": [{"Name": "web"}]}`)
	r.write(t, entryOf{"Kind": "service-defaults", "Name": "web", "Protocol": "http"})
	told := r.follow(t, secret, "shop", "web")
	u := await(t, told, "the chain", func(u Update) bool { return u.Err == nil })
	if u.Entries.Service.HTTP.Protocol != policy.HTTP1 {
		t.Errorf("entries %+v", u.Entries)
	}
	u = await(t, told, "the refusal", func(u Update) bool { return u.Err != nil })
	if !errors.Is(u.Err, ErrPermission) || !strings.Contains(u.Err.Error(), `service-defaults "shop"`) || strings.Contains(u.Err.Error(), secret) {
		t.Error(u.Err)
	}
	told = r.follow(t, secret, "shop", "api")
	u = await(t, told, "no right for the service", func(u Update) bool { return u.Err != nil && strings.Contains(u.Err.Error(), "discovery chain") })
	if !errors.Is(u.Err, ErrPermission) {
		t.Error(u.Err)
	}
}
