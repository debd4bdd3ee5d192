package upstream_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/innermesh/innermesh/balancer"
	"github.com/innermesh/innermesh/call"
	"github.com/innermesh/innermesh/discovery"
	"github.com/innermesh/innermesh/internal/mono"
	"github.com/innermesh/innermesh/internal/route"
	"github.com/innermesh/innermesh/internal/telemetry"
	"github.com/innermesh/innermesh/internal/upstream"
	"github.com/innermesh/innermesh/policy"
)

// directory follows a registry in memory; each service's policy is applied when
// it comes to life, unless follow says otherwise.
func directory(t *testing.T, source discovery.Source, follow func(*upstream.Upstream)) *upstream.Directory {
	t.Helper()
	tel, err := telemetry.New(telemetry.Options{}, "test")
	if err != nil {
		t.Fatal(err)
	}
	if follow == nil {
		follow = func(u *upstream.Upstream) { apply(t, u, policy.Service{}) }
	}
	d := upstream.NewDirectory(upstream.Options{
		Source: source, Telemetry: tel, Logger: slog.New(slog.DiscardHandler), Idle: time.Minute,
		Follow: follow, Provisional: func(string) policy.Effective { return merged(policy.Service{}) },
	})
	t.Cleanup(d.Close)
	return d
}

func merged(s policy.Service) policy.Effective {
	return policy.Merge(policy.Layer{Name: "built-in", Service: policy.Default()}, policy.Layer{Name: "test", Service: s})
}

func apply(t *testing.T, u *upstream.Upstream, s policy.Service) {
	t.Helper()
	if err := u.Apply(merged(s)); err != nil {
		t.Fatal(err)
	}
}

func get(t *testing.T, d *upstream.Directory, service string) *upstream.Upstream {
	t.Helper()
	u, err := d.Get(service)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func set(t *testing.T, m *discovery.Memory, service string, ids ...string) {
	t.Helper()
	var all []discovery.Instance
	for _, id := range ids {
		id, critical := strings.CutSuffix(id, "!")
		i := discovery.Instance{ID: id, Address: id + ":80", Meta: map[string]string{"version": id[:1]}}
		if critical {
			i.Health = discovery.Critical
		}
		all = append(all, i)
	}
	if err := m.Set(service, all...); err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
}

// to splits all calls evenly among targets.
func to(targets ...policy.Target) policy.Service {
	var r policy.Route
	for i, target := range targets {
		weight := float64(100 / len(targets))
		if i == 0 {
			weight = 100 - weight*float64(len(targets)-1)
		}
		r.To = append(r.To, policy.Leg{Weight: weight, Target: target})
	}
	return policy.Service{Routes: []policy.Route{r}}
}

// went counts where calls go.
func went(t *testing.T, u *upstream.Upstream, calls int) map[string]int {
	t.Helper()
	got := make(map[string]int)
	for range calls {
		pick, err := u.Plan().Match(nil).Pick(nil, route.Origin{}).Pick(balancer.Info{Now: mono.Now()})
		if err != nil {
			got[err.Error()]++
			continue
		}
		got[pick.ID]++
		pick.Judge(mono.Now(), time.Millisecond, call.Outcome{})
		pick.Release()
	}
	return got
}

func TestIdleServicesAreLetGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		registry := new(discovery.Memory)
		set(t, registry, "web", "a")
		d := directory(t, registry, nil)
		u := get(t, d, "web")
		stop := u.Watch(func() {})
		time.Sleep(5 * time.Minute)
		if d.Known("web") == nil {
			t.Fatal("let go although it is watched")
		}
		stop()
		time.Sleep(5 * time.Minute)
		if d.Known("web") != nil {
			t.Error("kept although nobody calls it")
		}
		if get(t, d, "web") == u {
			t.Error("a new call found the old upstream")
		}
		d.Close()
		if _, err := d.Get("other"); !errors.Is(err, upstream.ErrClosed) {
			t.Errorf("a closed directory says %v", err)
		}
	})
}

func TestCallsWaitForTheFirstPlan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := directory(t, new(discovery.Memory), func(*upstream.Upstream) {})
		u := get(t, d, "web")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := u.Ready(ctx); !errors.Is(err, discovery.ErrNotReady) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("without a policy: %v", err)
		}
		go func() { _ = u.Apply(merged(policy.Service{})) }() // it is good
		if plan, err := u.Ready(t.Context()); err != nil || plan == nil {
			t.Errorf("with a policy: %v, %v", plan, err)
		}
		waiting := get(t, d, "other")
		go d.Close()
		if _, err := waiting.Ready(t.Context()); !errors.Is(err, upstream.ErrClosed) {
			t.Errorf("of a closed directory: %v", err)
		}
	})
}

func TestSplitSubsetAndOtherService(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		registry := new(discovery.Memory)
		set(t, registry, "web", "1a", "1b", "2a")
		set(t, registry, "next", "3a")
		d := directory(t, registry, nil)
		u := get(t, d, "web")
		apply(t, u, to(policy.Target{Filter: "Service.Meta.version == 2"}, policy.Target{Service: "next"}))
		got := went(t, u, 1000)
		if got["2a"] < 400 || got["3a"] < 400 || got["2a"]+got["3a"] != 1000 {
			t.Errorf("went to %v", got)
		}
	})
}

// What a new plan leaves as it was keeps its state, what it drops lingers for
// the calls under way, and comes back with its state if it is soon back.
func TestPlansKeepWhatTheyShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		registry := new(discovery.Memory)
		set(t, registry, "web", "1a", "2a")
		set(t, registry, "next", "3a")
		d := directory(t, registry, nil)
		u := get(t, d, "web")
		defer u.Watch(func() {})() // keeps it alive
		synctest.Wait()
		old := u.Plan().Match(nil).Pick(nil, route.Origin{})
		whole, budget := old.Clusters()[0], u.Plan().Match(nil).Budget
		apply(t, u, to(policy.Target{}, policy.Target{Service: "next"}))
		r := u.Plan().Match(nil)
		if r.Destinations[0].Clusters()[0] != whole || r.Budget != budget {
			t.Error("cluster or budget started anew though their terms are the same")
		}
		next := r.Destinations[1].Clusters()[0]
		apply(t, u, to(policy.Target{Service: "next"}))
		if _, err := old.Pick(balancer.Info{Now: mono.Now()}); err != nil {
			t.Errorf("a call under the old plan: %v", err)
		}
		time.Sleep(30 * time.Second)
		apply(t, u, policy.Service{})
		if u.Plan().Match(nil).Pick(nil, route.Origin{}).Clusters()[0] != whole {
			t.Error("a target that was soon back has lost its state")
		}
		time.Sleep(2 * time.Minute)
		if slices.Contains(u.Clusters(), next) || !slices.Contains(u.Clusters(), whole) {
			t.Error("what no plan has is still followed, or what one has is not")
		}
		changed := policy.Service{Retry: policy.Retry{Budget: policy.Budget{Ratio: 0.5}}}
		apply(t, u, changed)
		if u.Plan().Match(nil).Budget == budget {
			t.Error("budget kept though its terms have changed")
		}
	})
}

// A plan whose instances are not known yet waits a moment for them, so that the
// calls need not.
func TestPlanWaitsForNewTargets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		registry := new(discovery.Memory)
		set(t, registry, "web", "1a")
		d := directory(t, late{registry, 200 * time.Millisecond}, nil)
		u := get(t, d, "web")
		time.Sleep(time.Second)
		began := time.Now()
		apply(t, u, to(policy.Target{Filter: "Service.Meta.version == 1"}))
		if took := time.Since(began); took != 200*time.Millisecond || !u.Plan().Match(nil).Pick(nil, route.Origin{}).IsReady() {
			t.Errorf("in force after %v", took)
		}
	})
}

// late is a source whose first answer takes a while.
type late struct {
	discovery.Source
	by time.Duration
}

func (l late) Watch(ctx context.Context, service string, tell func(discovery.Update)) error {
	time.Sleep(l.by)
	return l.Source.Watch(ctx, service, tell)
}

func TestABadPlanChangesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := directory(t, new(discovery.Memory), nil)
		u := get(t, d, "web")
		plan := u.Plan()
		bad := policy.Service{Routes: []policy.Route{{To: []policy.Leg{{Weight: -1}}}}}
		if err := u.Apply(merged(bad)); err == nil || u.Plan() != plan {
			t.Errorf("got %v", err)
		}
	})
}

func TestFailover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		registry := new(discovery.Memory)
		set(t, registry, "backup", "b")
		d := directory(t, registry, nil)
		u := get(t, d, "web")
		apply(t, u, to(policy.Target{Failover: []policy.Target{{Service: "backup"}}}))
		for _, test := range []struct {
			web  []string
			back float64 // the share of the backup, 1.4 times what is missing
		}{
			{[]string{"1a", "1b", "1c", "1d"}, 0},
			{[]string{"1a", "1b", "1c", "1d!"}, 0},
			{[]string{"1a", "1b", "1c!", "1d!"}, 0.3},
			{[]string{"1a", "1b!", "1c!", "1d!"}, 0.65},
			{[]string{"1a!", "1b!"}, 1},
			{nil, 1},
		} {
			set(t, registry, "web", test.web...)
			time.Sleep(time.Second)
			got := float64(went(t, u, 10_000)["b"]) / 10_000
			if got < test.back-0.02 || got > test.back+0.02 {
				t.Errorf("of %v the backup gets %v, want %v", test.web, got, test.back)
			}
		}
		set(t, registry, "backup")
		time.Sleep(time.Second)
		if got := went(t, u, 1); got[discovery.ErrNoInstances.Error()] != 1 {
			t.Errorf("with nobody left: %v", got)
		}
	})
}

// A call whose attempts found nobody at home in a tier goes on with the next one,
// although the tier looks healthy still; one that was answered badly does not.
func TestLostTiersAreLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		registry := new(discovery.Memory)
		set(t, registry, "web", "1a", "1b", "1c")
		set(t, registry, "backup", "b")
		set(t, registry, "last", "z")
		d := directory(t, registry, nil)
		u := get(t, d, "web")
		off := policy.Breaker{Open: policy.Off}
		p := to(policy.Target{Failover: []policy.Target{{Service: "backup"}, {Service: "last"}}})
		p.Breaker = off
		apply(t, u, p)
		synctest.Wait() // all tiers are known
		to := u.Plan().Match(nil).Pick(nil, route.Origin{})
		attempts := func(out call.Outcome) string {
			var went strings.Builder
			info := balancer.Info{Now: mono.Now()}
			for range 5 {
				pick, err := to.Pick(info)
				if err != nil {
					t.Fatal(err)
				}
				went.WriteByte(pick.ID[0])
				info.Tried = append(info.Tried, pick.Load())
				pick.Judge(mono.Now(), time.Millisecond, out)
				pick.Release()
			}
			return went.String()
		}
		refused := call.Outcome{Reason: call.Unreachable, Err: errors.New("refused")}
		busy := call.Outcome{Reason: call.Unavailable, Sent: call.Answered, Err: errors.New("503")}
		for range 100 {
			if got := attempts(refused); got != "11bz1" {
				t.Fatalf("attempts that are refused went to %s", got)
			}
			if got := attempts(busy); got != "11111" {
				t.Fatalf("attempts that are answered went to %s", got)
			}
		}
	})
}
