package consul

import (
	"context"
	"errors"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/innermesh/innermesh/internal/consul"
	"github.com/innermesh/innermesh/internal/consultest"
	"github.com/innermesh/innermesh/policy"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(consultest.Main(m)) }

// one wants a single update with layers, and returns it.
func one(t *testing.T, updates []Update) Update {
	t.Helper()
	if len(updates) != 1 || updates[0].Err != nil {
		t.Fatalf("told %+v, want layers once", updates)
	}
	return updates[0]
}

// wantError wants a last update with an error that says all of this.
func wantError(t *testing.T, updates []Update, texts ...string) {
	t.Helper()
	if len(updates) == 0 || updates[len(updates)-1].Err == nil {
		t.Fatalf("told %+v, want an error", updates)
	}
	for _, text := range texts {
		if err := updates[len(updates)-1].Err; !strings.Contains(err.Error(), text) {
			t.Errorf("told %v, want %s", err, text)
		}
	}
}

func TestWatchTellsAllLayers(t *testing.T) {
	follow(t, func(a *agent) {
		a.set(proxyPath, `{"Config": {"innermesh": {"retry": {"budget": {"ratio": 0.1}}}}}`)
		a.set(callerPath, `{"UpstreamConfig": {"Defaults": {"Limits": {"MaxConnections": 7}}}}`)
		a.set(chainPath, string(withMeta(t, `{"innermesh/retry.attempts": "2"}`)))
	}, func(t *testing.T, a *agent, updates func() []Update) {
		u := one(t, updates())
		if u.Entries.Service.Limits.Connections != 7 || u.Entries.Service.HTTP.Protocol != policy.HTTP1 {
			t.Errorf("entries %+v", u.Entries)
		}
		if u.Defaults.Service.Retry.Budget.Ratio != 0.1 || u.Extension.Service.Retry.Attempts != 2 || u.Index != 14 {
			t.Errorf("defaults %+v, extension %+v, index %d", u.Defaults, u.Extension, u.Index)
		}
		e := policy.Merge(append([]policy.Layer{{Name: "built-in", Service: policy.Default()}}, u.Layers()...)...)
		for path, want := range map[string]string{
			"limits.connections": "consul config entries",
			"retry.budget.ratio": "consul proxy-defaults Config.innermesh",
			"retry.attempts":     "consul service-defaults web Meta",
		} {
			if got := e.Origin(path); got != want {
				t.Errorf("%s by %q, want %q", path, got, want)
			}
		}
		a.set(callerPath, `{"UpstreamConfig": {"Defaults": {"Limits": {"MaxConnections": 8}}}}`)
		if u := one(t, updates()); u.Entries.Service.Limits.Connections != 8 || u.Extension.Service.Retry.Attempts != 2 || u.Index != 15 {
			t.Errorf("then %+v", u)
		}
		// An entry that changes in what is of no concern here is no news, nor is one
		// that is not there any more and said nothing.
		a.set(callerPath, `{"UpstreamConfig": {"Defaults": {"Limits": {"MaxConnections": 8}}}, "MaxInboundConnections": 3}`)
		if told := updates(); len(told) > 0 {
			t.Errorf("then %+v", told)
		}
		a.set(callerPath, "")
		a.set(proxyPath, "")
		told := updates()
		if u := told[len(told)-1]; !reflect.ValueOf(u.Entries.Service.Limits).IsZero() || u.Defaults.Service.Retry.Budget.Ratio != 0 {
			t.Errorf("entries that are gone still count: %+v", u)
		}
	})
}

func withMeta(t *testing.T, meta string) []byte {
	t.Helper()
	body := string(read(t, "testdata/chains/01-default-tcp.json"))
	return []byte(strings.Replace(strings.Replace(body, `"tcp"`, `"http"`, 1), `"StartNode"`, `"ServiceMeta": `+meta+`, "StartNode"`, 1))
}

// A bad state changes nothing of its own layer, and holds up no other.
func TestBadStateIsToldAndChangesNothing(t *testing.T) {
	follow(t, func(a *agent) {
		a.set(chainPath, string(withMeta(t, `{"innermesh/retry.attempts": "2"}`)))
	}, func(t *testing.T, a *agent, updates func() []Update) {
		one(t, updates())
		a.set(chainPath, string(withMeta(t, `{"innermesh/retry.atempts": "3"}`)))
		told := updates()
		wantError(t, told, `Meta["innermesh/retry.atempts"]: unknown field`, `service-defaults "web"`, `calls to "web"`)
		if len(told) != 1 {
			t.Errorf("told %+v, want the error alone", told)
		}
		// The error stands, the chain moves on.
		a.set(chainPath, strings.Replace(string(withMeta(t, `{"innermesh/retry.atempts": "3"}`)), `"http"`, `"grpc"`, 1))
		told = updates()
		if u := told[0]; len(told) != 2 || u.Entries.Service.HTTP.Protocol != policy.HTTP2 || u.Extension.Service.Retry.Attempts != 2 {
			t.Errorf("told %+v", told)
		}
		wantError(t, told, "atempts")
		// A bad chain, while its Meta is good.
		a.set(chainPath, strings.Replace(string(withMeta(t, `{"innermesh/retry.attempts": "4"}`)), `"http"`, `"quic"`, 1))
		told = updates()
		if u := told[0]; len(told) != 2 || u.Entries.Service.HTTP.Protocol != policy.HTTP2 || u.Extension.Service.Retry.Attempts != 4 {
			t.Errorf("told %+v", told)
		}
		wantError(t, told, `discovery chain of "web": Chain.Protocol: "quic"`)
		if !errors.Is(told[1].Err, ErrUnsupported) {
			t.Errorf("%v is not ErrUnsupported", told[1].Err)
		}
		// What is good again is told, even if its layers are known.
		a.set(chainPath, strings.Replace(string(withMeta(t, `{"innermesh/retry.attempts": "4"}`)), `"http"`, `"grpc"`, 1))
		one(t, updates())
		a.set(callerPath, `{"UpstreamConfig": {"Defaults": {"Limits": {"MaxConnections": 8}}}}`)
		one(t, updates())
		a.set(callerPath, `{"UpstreamConfig": {"Defaults": {"Limits": {"MaxConnections": -8}}}}`)
		wantError(t, updates(), "upstream configuration: Limits.MaxConnections: -8 is negative")
		a.set(chainPath, string(withMeta(t, `{"innermesh/retry.attempts": "4"}`)))
		if told = updates(); len(told) != 2 || told[0].Entries.Service.Limits.Connections != 8 {
			t.Errorf("told %+v, want the limits that were good", told)
		}
		a.set(proxyPath, `{"Config": {"innermesh": 5}}`)
		wantError(t, updates(), "Limits.MaxConnections", "proxy-defaults: Config.innermesh: ")
		a.set(proxyPath, ``)
		a.set(callerPath, ``)
		told = updates()
		if last := told[len(told)-1]; last.Err != nil || last.Extension.Service.Retry.Attempts != 4 {
			t.Errorf("told %+v", told)
		}
	})
}

// How the chain is asked for follows the entries, as a sidecar's question does.
func TestChainIsAskedAsASidecarWould(t *testing.T) {
	posted := func(body string) string { return chainPath + " " + body }
	const slow = `{"OverrideConnectTimeout":"2s"}`
	const web = `{"OverrideProtocol":"http"}`
	follow(t, func(a *agent) {
		a.set(posted(slow), string(read(t, "testdata/chains/14-external-sni.json")))
		a.set(posted(web), string(read(t, "testdata/chains/04-splitter-subsets.json")))
	}, func(t *testing.T, a *agent, updates func() []Update) {
		asks := func(want ...string) {
			t.Helper()
			want = append(want, proxyPath, callerPath)
			slices.Sort(want)
			if got := slices.Sorted(maps.Keys(a.asked())); !slices.Equal(got, want) {
				t.Errorf("asks %q, want %q", got, want)
			}
		}
		one(t, updates())
		asks(chainPath)
		a.set(callerPath, `{"UpstreamConfig": {"Overrides": [{"Name": "web", "ConnectTimeoutMs": 2000}]}}`)
		told := updates()
		asks(posted(slow))
		s := told[len(told)-1].Entries.Service
		if s.Timeout.Connect != 2e9 || len(s.Routes) != 1 || s.Routes[0].To[0].Connect != 5e9 {
			t.Errorf("entries %+v", s)
		}
		// Only with a protocol of proxy-defaults the callee's own entry counts: one
		// that is silent is read differently by the chain and by sidecars.
		a.set(callerPath, "")
		a.set(proxyPath, `{"Config": {"protocol": "http"}}`)
		updates()
		asks(calleePath, chainPath)
		a.set(calleePath, `{"Protocol": ""}`)
		told = updates()
		asks(calleePath, posted(web))
		if s := told[len(told)-1].Entries.Service; len(s.Routes) != 1 || len(s.Routes[0].To) != 3 {
			t.Errorf("entries %+v", s)
		}
		a.set(calleePath, `{"Protocol": "grpc"}`)
		updates()
		asks(calleePath, chainPath)
		a.set(proxyPath, "")
		updates()
		asks(chainPath)
	})
}

// Without the permission for an entry the rest works; with it, it is taken up.
func TestForbiddenEntries(t *testing.T) {
	follow(t, func(a *agent) {
		a.fail(callerPath, 403, "Permission denied")
	}, func(t *testing.T, a *agent, updates func() []Update) {
		told := updates()
		var layers, refusals int
		for _, u := range told {
			if u.Err == nil {
				layers++
			} else if errors.Is(u.Err, ErrPermission) {
				refusals++
			}
		}
		if layers != 1 || told[len(told)-1].Err == nil || refusals == 0 {
			t.Errorf("told %+v, want the layers and in the end the refusal", told)
		}
		wantError(t, told, `service-defaults "shop": `)
		a.set(callerPath, `{"UpstreamConfig": {"Defaults": {"Limits": {"MaxConnections": 7}}}}`)
		for range 90 { // Consul's rights take half a minute, so the watch asks seldom
			told = append(told, updates()...)
		}
		if last := told[len(told)-1]; last.Err != nil || last.Entries.Service.Limits.Connections != 7 {
			t.Errorf("told %+v", told)
		}
	})
}

// As long as an entry is not known, the chain is not asked for: without its
// protocol it could lack all routes.
func TestChainWaitsForTheEntries(t *testing.T) {
	for _, path := range []string{proxyPath, callerPath} {
		t.Run(path, func(t *testing.T) { chainWaits(t, path) })
	}
}

func chainWaits(t *testing.T, path string) {
	t.Helper()
	follow(t, func(a *agent) {
		a.fail(path, 500, "no leader")
	}, func(t *testing.T, a *agent, updates func() []Update) {
		told := updates()
		wantError(t, told, "-defaults", "no leader")
		if len(told) != 1 || a.asked()[chainPath] > 0 {
			t.Errorf("told %+v, asked %v", told, a.asked())
		}
		a.set(path, "")
		for range 60 {
			told = append(told, updates()...)
		}
		if last := told[len(told)-1]; last.Err != nil || last.Entries.Service.HTTP.Protocol != policy.HTTP1 {
			t.Errorf("told %+v", told)
		}
		// Later failures change nothing.
		a.fail(path, 500, "no leader")
		a.fail(chainPath, 500, "no leader")
		told = nil
		for range 600 {
			told = append(told, updates()...)
		}
		for _, u := range told {
			if u.Err == nil {
				t.Errorf("told %+v while Consul had no leader", u)
			}
		}
		wantError(t, told, "-defaults", "discovery chain of", "no leader")
	})
}

// However entries change, and however quickly, a watch ends where one that begins
// now would begin.
func TestWatchConverges(t *testing.T) {
	chain := func(protocol string) string { return strings.Replace(string(withMeta(t, `{}`)), `"http"`, protocol, 1) }
	caller := func(config string) string { return `{"UpstreamConfig": ` + config + `}` }
	choices := map[string][]string{
		proxyPath:  {"", `{"Config": {"protocol": "http"}}`, `{"Config": {"innermesh": {"retry": {"attempts": 2}}}}`, `{"Config": {"protocol": 5}}`},
		callerPath: {"", caller(`{"Defaults": {"Protocol": "grpc"}}`), caller(`{"Overrides": [{"Name": "web", "ConnectTimeoutMs": 2000}]}`), caller(`{"New": 5}`)},
		calleePath: {"", `{"Protocol": ""}`, `{"Protocol": "http2"}`},
		chainPath:  {chain(`"http"`), chain(`"grpc"`), chain(`"quic"`)},
		chainPath + ` {"OverrideProtocol":"http"}`:                               {chain(`"http2"`)},
		chainPath + ` {"OverrideProtocol":"grpc"}`:                               {chain(`"tcp"`)},
		chainPath + ` {"OverrideConnectTimeout":"2s"}`:                           {chain(`"http"`)},
		chainPath + ` {"OverrideProtocol":"http","OverrideConnectTimeout":"2s"}`: {chain(`"grpc"`)},
	}
	questions := slices.Sorted(maps.Keys(choices))
	follow(t, func(a *agent) {
		for _, q := range questions {
			a.set(q, choices[q][0])
		}
	}, func(t *testing.T, a *agent, updates func() []Update) {
		random := rand.New(rand.NewPCG(1, 2))
		var last, lastGood Update
		var good int
		for round := range 200 {
			for range 1 + random.IntN(4) {
				q := questions[random.IntN(len(questions))]
				a.set(q, choices[q][random.IntN(len(choices[q]))])
			}
			var told []Update
			for range 12 { // a watch that is asked in a burst answers once a second
				told = append(told, updates()...)
			}
			for _, u := range told {
				if last = u; u.Err == nil {
					lastGood = u
				}
			}
			var fresh []Update
			client := a.client(t)
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan struct{})
			go func() {
				defer close(done)
				_ = New(client, Options{Service: "shop"}).Watch(ctx, "web", func(u Update) { fresh = append(fresh, u) })
			}()
			synctest.Wait()
			cancel()
			<-done
			client.Close()
			if len(fresh) == 0 {
				t.Errorf("round %d: nothing told to one that begins", round)
				return
			}
			now := fresh[len(fresh)-1]
			if (now.Err == nil) != (last.Err == nil) {
				t.Errorf("round %d: %v, want %v", round, last.Err, now.Err)
				return
			}
			if now.Err != nil {
				continue // one that begins has no last good state
			}
			good++
			if diff := cmp.Diff(now.Layers(), lastGood.Layers()); diff != "" {
				t.Errorf("round %d: %s", round, diff)
				return
			}
		}
		if good < 20 {
			t.Errorf("only %d of 200 states were good: that proves little", good)
		}
	})
}

// An answer to a question that is not asked any more may still be on its way.
func TestLateAnswersAreDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &agent{index: 10, answers: map[string]answer{}, changed: make(chan struct{}), open: map[string]int{}}
		a.set(chainPath, string(withMeta(t, `{}`)))
		client := a.client(t)
		defer client.Close()
		var told []Update
		f := newFollowing(New(client, Options{}), "web", func(u Update) { told = append(told, u) })
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- f.run(ctx) }()
		synctest.Wait()
		f.news <- news{&f.chain, -1, consul.Result{Found: true, Index: 99, Body: withMeta(t, `{"innermesh/retry.attempts": "9"}`)}}
		synctest.Wait()
		cancel()
		<-done
		one(t, told)
	})
}

func TestWatchOfNoName(t *testing.T) {
	client, err := consul.New(consul.Options{Address: "fake:8500"})
	if err != nil {
		t.Fatal(err)
	}
	s := New(client, Options{})
	for _, name := range []string{"", ".", ".."} {
		if err := s.Watch(t.Context(), name, func(Update) {}); err == nil || !strings.Contains(err.Error(), "no name") {
			t.Errorf("%q: %v", name, err)
		}
	}
	client.Close()
	if err := s.Watch(t.Context(), "web", func(Update) {}); !errors.Is(err, consul.ErrClosed) {
		t.Errorf("of a closed client: %v", err)
	}
}
