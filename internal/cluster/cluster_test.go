package cluster_test

import (
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/innermesh/innermesh/balancer"
	"github.com/innermesh/innermesh/breaker"
	"github.com/innermesh/innermesh/call"
	"github.com/innermesh/innermesh/discovery"
	"github.com/innermesh/innermesh/internal/cluster"
	"github.com/innermesh/innermesh/internal/mono"
	"github.com/innermesh/innermesh/internal/telemetry"
	"github.com/innermesh/innermesh/policy"
)

// open returns a cluster fed by a registry in memory.
func open(t *testing.T, registry *discovery.Memory) *cluster.Cluster {
	t.Helper()
	c := openWith(t, registry, policy.Service{})
	if err := c.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	return c
}

// openWith returns a cluster with a policy of its own; all else is as open has it.
func openWith(t testing.TB, registry discovery.Source, s policy.Service, where ...func(*cluster.Options)) *cluster.Cluster {
	t.Helper()
	tel, err := telemetry.New(telemetry.Options{}, "test")
	if err != nil {
		t.Fatal(err)
	}
	o := cluster.Options{
		Upstream: "web", Target: policy.Target{Service: "web"}, Source: registry, Telemetry: tel,
		Policy: merged(s), Logger: slog.New(slog.DiscardHandler),
	}
	for _, change := range where {
		change(&o)
	}
	return cluster.New(t.Context(), o)
}

func merged(s policy.Service) policy.Effective {
	base := policy.Default()
	base.Balancer.Policy = policy.P2C // so that an instance which fails is still picked
	base.Balancer.PanicPercent = -1   // and that all may be out
	return policy.Merge(policy.Layer{Name: "built-in", Service: base}, policy.Layer{Name: "test", Service: s})
}

func info() balancer.Info { return balancer.Info{Now: mono.Now()} }

func instances(ids ...string) []discovery.Instance {
	var all []discovery.Instance
	for _, id := range ids {
		all = append(all, discovery.Instance{ID: id, Address: id + ":80"})
	}
	return all
}

func set(t *testing.T, registry *discovery.Memory, all ...discovery.Instance) {
	t.Helper()
	if err := registry.Set("web", all...); err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
}

func fail(t *testing.T, c *cluster.Cluster, id string, times int) {
	t.Helper()
	for done := 0; done < times; {
		p, err := c.View().Pick(info())
		if err != nil {
			t.Fatal(err)
		}
		if p.ID == id {
			done++
			p.Judge(mono.Now(), time.Millisecond, call.Outcome{Reason: call.Faulty})
		} else {
			p.Judge(mono.Now(), time.Millisecond, call.Outcome{})
		}
		p.Release()
	}
}

// What is known of an instance survives every update that does not touch it.
func TestStateSurvivesUpdates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		registry := new(discovery.Memory)
		set(t, registry, instances("a", "b")...)
		c := open(t, registry)
		defer c.Close()
		fail(t, c, "a", 5)
		status := func(i int) cluster.InstanceStatus { return c.Status().Instances[i] }
		if status(0).Breaker != breaker.Open {
			t.Fatalf("breaker of a is %v", status(0).Breaker)
		}
		set(t, registry, instances("a", "b", "c")...)
		if status(0).Breaker != breaker.Open || status(0).Failures != 5 {
			t.Errorf("a after another came: %+v", status(0))
		}
		moved := instances("a", "b", "c")
		moved[0].Address = "elsewhere:80"
		set(t, registry, moved...)
		if status(0).Breaker != breaker.Closed || status(0).Attempts != 0 {
			t.Errorf("a at another address: %+v", status(0))
		}
	})
}

func TestOpenBreakersAreNotPicked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		registry := new(discovery.Memory)
		set(t, registry, instances("a", "b")...)
		c := open(t, registry)
		defer c.Close()
		fail(t, c, "a", 5)
		for range 100 {
			p, err := c.View().Pick(info())
			if err != nil || p.ID != "b" {
				t.Fatalf("picked %v, %v", p.Member, err)
			}
			p.Judge(mono.Now(), 0, call.Outcome{})
			p.Release()
		}
		fail(t, c, "b", 5)
		_, err := c.View().Pick(info())
		all, ok := errors.AsType[*cluster.AllOpenError](err)
		if !ok || !errors.Is(err, breaker.ErrOpen) || all.Members != 2 || all.First.Name != "a" {
			t.Errorf("with all open: %v", err)
		}
		time.Sleep(5*time.Second + 1)
		if _, err := c.View().Pick(info()); err != nil {
			t.Errorf("no probe after the rest: %v", err)
		}
	})
}

// A dead instance is asked once in each rest of its breaker, however many would.
func TestOneProbeARest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		registry := new(discovery.Memory)
		set(t, registry, instances("a")...)
		c := open(t, registry)
		defer c.Close()
		fail(t, c, "a", 5)
		last, probes := time.Now(), 0
		for begin := last; time.Since(begin) < time.Minute; time.Sleep(10 * time.Millisecond) {
			p, err := c.View().Pick(info())
			if err != nil {
				rest := time.Since(last)
				if _, all := errors.AsType[*cluster.AllOpenError](err); !errors.Is(err, breaker.ErrOpen) || !all && rest > 0 && rest < 5*time.Second {
					t.Fatalf("refused with %v after %v", err, rest)
				}
				continue
			}
			if rest := time.Since(last); rest < 5*time.Second {
				t.Fatalf("let in after %v", rest)
			}
			last = time.Now().Add(time.Second)
			probes++
			time.AfterFunc(time.Second, func() {
				p.Judge(mono.Now(), time.Second, call.Outcome{Reason: call.Faulty})
				p.Release()
			})
		}
		if probes < 9 {
			t.Errorf("%d probes of a second in a minute, want one after every five", probes)
		}
		time.Sleep(time.Second)
	})
}

func TestWhyNobodyCanBeCalled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		registry := new(discovery.Memory)
		c := open(t, registry)
		defer c.Close()
		want := func(sentinel error) {
			t.Helper()
			if _, err := c.View().Pick(info()); !errors.Is(err, sentinel) {
				t.Errorf("got %v, want %v", err, sentinel)
			}
		}
		want(discovery.ErrUnknownService)
		set(t, registry)
		want(discovery.ErrNoInstances)
		sick := instances("a")
		sick[0].Health = discovery.Critical
		set(t, registry, sick...)
		want(discovery.ErrNoHealthyInstance)
		set(t, registry, instances("a")...)
		if _, err := c.View().Pick(info()); err != nil {
			t.Error(err)
		}
	})
}

// Who has left is told twice: at once, and when the last attempt has ended.
func TestDepartureWaitsForTheLastAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		registry := new(discovery.Memory)
		set(t, registry, instances("a")...)
		c := open(t, registry)
		defer c.Close()
		p, err := c.View().Pick(info())
		if err != nil {
			t.Fatal(err)
		}
		told := 0
		p.OnLeave(func() { told++ })
		set(t, registry)
		if told != 1 || !p.Gone() {
			t.Errorf("told %d times after leaving, gone %v", told, p.Gone())
		}
		p.Judge(mono.Now(), 0, call.Outcome{})
		p.Release()
		if told != 2 {
			t.Errorf("told %d times after the last attempt", told)
		}
	})
}

func TestApplyKeepsWhatIsUnchanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		registry := new(discovery.Memory)
		set(t, registry, instances("a", "b")...)
		c := open(t, registry)
		defer c.Close()
		fail(t, c, "a", 5)
		apply := func(s policy.Service) { c.Apply(merged(s)) }
		apply(policy.Service{Retry: policy.Retry{Attempts: 2}})
		if c.Status().Instances[0].Breaker != breaker.Open {
			t.Error("breaker started anew though its terms are the same")
		}
		apply(policy.Service{Breaker: policy.Breaker{Failures: 9}})
		if c.Status().Instances[0].Breaker != breaker.Closed {
			t.Error("breaker kept though its terms have changed")
		}
	})
}

// Who watches a cluster hears of its end, and of nothing after it.
func TestWatchHearsOfTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		registry := new(discovery.Memory)
		set(t, registry, instances("a")...)
		c := open(t, registry)
		told, after := 0, 0
		c.Watch(func() {
			told++
			if errors.Is(c.View().Error(), cluster.ErrClosed) {
				after++
			}
		})
		c.Close()
		c.Apply(merged(policy.Service{}))
		if told != 1 || after != 1 {
			t.Errorf("told %d times, %d of them that it is closed: want 1 and 1", told, after)
		}
	})
}
