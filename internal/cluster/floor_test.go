package cluster_test

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/innermesh/innermesh/balancer"
	"github.com/innermesh/innermesh/breaker"
	"github.com/innermesh/innermesh/call"
	"github.com/innermesh/innermesh/discovery"
	"github.com/innermesh/innermesh/internal/cluster"
	"github.com/innermesh/innermesh/internal/mono"
	"github.com/innermesh/innermesh/policy"
)

// watchful ejects as eagerly as breakers open.
func watchful(percent int) policy.Service {
	return policy.Service{
		Balancer: policy.Balancer{PanicPercent: percent},
		Breaker:  policy.Breaker{Failures: 3},
		Ejection: policy.Ejection{Failures: 2, Base: policy.Duration(7 * time.Second), MaxPercent: 100, Interval: policy.Duration(time.Second)},
	}
}

// reachable returns who lets a call in now, in any order.
func reachable(c *cluster.Cluster) []string {
	var in []string
	all := c.View().Members()
	for _, m := range all {
		var others []*balancer.Member
		for _, o := range all {
			if o != m {
				others = append(others, o.Load())
			}
		}
		p, err := c.View().Pick(balancer.Info{Now: mono.Now(), Tried: others})
		if err != nil {
			continue
		}
		if p.ID == m.ID {
			in = append(in, m.ID)
		}
		p.Judge(mono.Now(), time.Millisecond, call.Outcome{Reason: call.Canceled}) // as if nothing had been
		p.Release()
	}
	return in
}

// Whatever fails, comes, goes and is said: by its own act the cluster never
// leaves fewer than the floor of those that discovery would call.
func TestNeverLessThanTheFloor(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		fault := "" // told outside of the bubble, so that rapid can look for a smaller one
		defer func() {
			if fault != "" {
				r.Fatal(fault)
			}
		}()
		synctest.Test(t, func(t *testing.T) {
			registry := new(discovery.Memory)
			percent := rapid.SampledFrom([]int{1, 30, 50, 80, 100}).Draw(r, "percent")
			c := openWith(t, registry, watchful(percent))
			defer c.Close()
			known := []discovery.Instance{{ID: "0", Address: "0:80"}}
			set(t, registry, known...)
			if err := c.Ready(t.Context()); err != nil {
				t.Fatal(err)
			}
			sick := map[string]bool{}
			var probes []cluster.Pick // under way for as long as they like
			defer func() {
				for _, p := range probes {
					p.Judge(mono.Now(), 0, call.Outcome{Reason: call.Canceled})
					p.Release()
				}
			}()
			for step := range rapid.IntRange(1, 60).Draw(r, "steps") {
				switch rapid.IntRange(0, 6).Draw(r, "what") {
				case 0: // somebody comes
					id := fmt.Sprint(step + 1)
					known = append(known, discovery.Instance{ID: id, Address: id + ":80"})
					set(t, registry, known...)
				case 1: // somebody goes
					if len(known) > 1 {
						i := rapid.IntRange(0, len(known)-1).Draw(r, "who")
						known = slices.Delete(slices.Clone(known), i, i+1)
						set(t, registry, known...)
					}
				case 2: // somebody becomes critical, or is no more
					known = slices.Clone(known)
					i := rapid.IntRange(0, len(known)-1).Draw(r, "who")
					known[i].Health = discovery.Critical - known[i].Health
					set(t, registry, known...)
				case 3: // somebody falls ill or gets well
					id := known[rapid.IntRange(0, len(known)-1).Draw(r, "who")].ID
					sick[id] = !sick[id]
				case 4: // time passes
					time.Sleep(time.Duration(rapid.IntRange(1, 12_000).Draw(r, "ms")) * time.Millisecond)
				case 5: // a call that takes long
					if p, err := c.View().Pick(info()); err == nil {
						probes = append(probes, p)
					}
				default: // many calls
					for range 30 {
						p, err := c.View().Pick(info())
						if err != nil {
							break
						}
						out := call.Outcome{}
						if sick[p.ID] {
							out.Reason = call.Faulty
						}
						p.Judge(mono.Now(), time.Millisecond, out)
						p.Release()
					}
				}
				n := len(c.View().Members())
				want := int(math.Ceil(float64(percent)/100*float64(n) - 1e-9))
				if in := reachable(c); len(in) < want {
					fault = fmt.Sprintf("step %d: %d of %d let calls in, want %d: %v", step, len(in), n, want, c.Status())
					return
				}
				p, err := c.View().Pick(info())
				if err == nil {
					probes = append(probes, p)
				} else if n > 0 {
					fault = fmt.Sprintf("step %d: %d members, and %v", step, n, err)
					return
				}
			}
		})
	})
}

// Without a floor all may be out, and that is told; with it calls go out.
func TestAllBroken(t *testing.T) {
	for _, percent := range []int{-1, 50} {
		synctest.Test(t, func(t *testing.T) {
			registry := new(discovery.Memory)
			set(t, registry, instances("a", "b", "c")...)
			c := openWith(t, registry, policy.Service{Balancer: policy.Balancer{PanicPercent: percent}})
			defer c.Close()
			if err := c.Ready(t.Context()); err != nil {
				t.Fatal(err)
			}
			out := 0
			var last error
			for range 1000 {
				p, err := c.View().Pick(info())
				if err != nil {
					out, last = out+1, err
					continue
				}
				p.Judge(mono.Now(), time.Millisecond, call.Outcome{Reason: call.Reset})
				p.Release()
			}
			_, broken := errors.AsType[*cluster.AllOpenError](last)
			if healthy, all := c.View().Health(mono.Now() + time.Second); healthy != 0 || all != 3 {
				t.Errorf("%d of %d are healthy, and all fail", healthy, all)
			}
			if percent < 0 && (out != 1000-15 || !broken || !errors.Is(last, breaker.ErrOpen)) {
				t.Errorf("without a floor: %d refused, %v", out, last)
			}
			if percent > 0 && out != 0 {
				t.Errorf("with a floor: %d refused, %v", out, last)
			}
			if in := reachable(c); percent > 0 && len(in) != 2 {
				t.Errorf("%v let calls in, want two: one may be left alone", in)
			}
		})
	}
}
