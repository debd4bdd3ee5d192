package route

import (
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/innermesh/innermesh/policy"
)

// volunteer is a request that carries one header.
type volunteer string

func (volunteer) Line() (method, path string) { return "GET", "/" }

func (v volunteer) HeaderValue(n Name) (value string, ok bool) { return "", n.Lower == string(v) }

func (volunteer) QueryValue(string) (value string, ok bool) { return "", false }

const tomorrow = "2000-01-02T00:00:00Z" // in a bubble

// Each injection befalls its share of the attempts, the later ones of those that
// the earlier ones leave.
func TestShares(t *testing.T) {
	synctest.Test(t, func(*testing.T) {
		i := newInjector([]policy.Injection{
			{Name: "slow", Millionths: 100_000, Delay: 1, Until: tomorrow},
			{Millionths: 25_000, Status: 503, Until: tomorrow},
		})
		const n = 200_000
		got := map[string]int{}
		for range n {
			if hit := i.Draw(volunteer("")); hit != nil {
				got[hit.Name]++
				hit.End()
			}
		}
		for name, p := range map[string]float64{"slow": 0.1, "1": 0.9 * 0.025} {
			if off := math.Abs(float64(got[name])/n - p); off > 4*math.Sqrt(p*(1-p)/n) {
				t.Errorf("%s befell %d of %d, want %v of all", name, got[name], n, p)
			}
		}
	})
}

func TestWhomInjectionsSpare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		always := policy.Injection{Millionths: million, Status: 503, Until: tomorrow, Header: "X-Drill", Active: 2}
		i := newInjector([]policy.Injection{always})
		if i.Draw(volunteer("x-other")) != nil {
			t.Error("befell a call that takes no part")
		}
		a, b := i.Draw(volunteer("x-drill")), i.Draw(volunteer("x-drill"))
		if a == nil || b == nil || i.Draw(volunteer("x-drill")) != nil {
			t.Error("two at once, and not three, should it befall")
		}
		a.End()
		if a = i.Draw(volunteer("x-drill")); a == nil {
			t.Fatal("one has ended, and there is no place for another")
		}
		a.End()
		b.End()
		time.Sleep(24*time.Hour - 1)
		if a = i.Draw(volunteer("x-drill")); a == nil || a.Left() != 1 {
			t.Error("over before its time")
		}
		time.Sleep(time.Nanosecond)
		if i.Draw(volunteer("x-drill")) != nil {
			t.Error("goes on after its time")
		}
	})
}

func TestExponentialDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newInjector([]policy.Injection{{
			Millionths: million, Delay: policy.Duration(time.Second), Spread: policy.Exponential, Until: tomorrow,
		}})
		const n = 20_000
		var sum time.Duration
		for range n {
			hit := i.Draw(volunteer(""))
			if hit.Wait < 0 || hit.Wait > 10*time.Second {
				t.Fatalf("waits %v", hit.Wait)
			}
			sum += hit.Wait
			hit.End()
		}
		if mean := sum / n; mean < 950*time.Millisecond || mean > 1050*time.Millisecond {
			t.Errorf("mean is %v, want a second", mean)
		}
	})
}

const million = 1_000_000
