package breaker_test

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/innermesh/innermesh/breaker"
	"github.com/innermesh/innermesh/call"
)

// service is a watch over some instances on a clock of its own.
type service struct {
	*breaker.Outliers
	instances []*breaker.Watched
	now       time.Duration
	told      []breaker.Ejection
}

func watch(n int, o breaker.OutlierOptions) *service {
	s := &service{now: time.Hour}
	s.Outliers = breaker.NewOutliers(o, func(e breaker.Ejection) { s.told = append(s.told, e) })
	for i := range n {
		s.instances = append(s.instances, s.Watch(string(rune('a'+i))))
	}
	return s
}

// record has the i-th instance end some attempts alike.
func (s *service) record(i, times int, r call.Reason) {
	for range times {
		s.instances[i].Record(s.now, r)
	}
}

func (s *service) want(t *testing.T, out ...int) {
	t.Helper()
	var got []int
	for i, w := range s.instances {
		if _, ejected := w.Ejected(s.now); ejected {
			got = append(got, i)
		}
	}
	if len(got) != len(out) || len(out) > 0 && got[0] != out[0] {
		t.Fatalf("ejected: %v, want %v; told: %+v", got, out, s.told)
	}
}

func TestFailuresInARowEject(t *testing.T) {
	s := watch(3, breaker.OutlierOptions{Jitter: -1})
	s.record(0, 4, call.Faulty)
	s.record(0, 1, call.OK)
	s.record(0, 4, call.Faulty)
	for _, r := range call.Reasons() {
		if r.Neutral() {
			s.record(0, 1, r)
		}
	}
	s.want(t)
	s.record(0, 1, call.Unreachable)
	s.want(t, 0)
	if e := s.told[0]; e.Instance != "a" || e.Cause != breaker.FailuresInRow || e.Until != s.now+30*time.Second || e.Times != 1 {
		t.Errorf("told %+v", e)
	}
	s.record(1, 100, call.Faulty) // of three, two must stay
	s.want(t, 0)
	s.now += 30 * time.Second
	s.want(t)
}

func TestFailedProbesEjectForLonger(t *testing.T) {
	s := watch(3, breaker.OutlierOptions{Jitter: -1})
	s.record(0, 5, call.Reset)
	for times := range 11 {
		lasts := time.Duration(min(times+1, 10)) * 30 * time.Second
		if until, _ := s.instances[0].Ejected(s.now); until != s.now+lasts {
			t.Fatalf("ejection %d lasts %v, want %v", times+1, until-s.now, lasts)
		}
		s.now += lasts
		s.record(0, 1, call.Faulty)
		s.want(t, 0)
	}
	s.now += 300 * time.Second
	s.record(0, 1, call.OK) // the probe
	s.record(0, 4, call.Faulty)
	s.want(t)
	last := s.told[len(s.told)-1]
	if last.Cause != breaker.Returned {
		t.Errorf("told last: %+v", last)
	}
	for range 20 { // forgiven, one ejection an interval
		s.now += 10 * time.Second
		s.record(0, 1, call.OK)
	}
	s.record(0, 5, call.Faulty)
	if until, _ := s.instances[0].Ejected(s.now); until != s.now+30*time.Second {
		t.Errorf("lasts %v after being good for long", until-s.now)
	}
}

func TestShareOfFailuresEjects(t *testing.T) {
	s := watch(4, breaker.OutlierOptions{})
	for range 9 {
		s.record(2, 1, call.Faulty)
		s.record(2, 1, call.OK)
	}
	s.record(2, 1, call.OK)
	s.want(t)
	s.record(2, 1, call.Faulty)
	s.want(t, 2)
	for range 40 {
		s.record(1, 1, call.OK)
		s.record(1, 1, call.Throttled)
	}
	s.want(t, 2) // half of the answers of b are pushback, which alone ejects nobody
}

func TestGatewayFailuresEject(t *testing.T) {
	s := watch(3, breaker.OutlierOptions{Failures: -1, FailureRatio: -1, GatewayFailures: 3})
	s.record(0, 2, call.Gateway)
	s.record(0, 1, call.Faulty) // another kind
	s.record(0, 2, call.Unavailable)
	s.want(t)
	s.record(0, 1, call.Gateway)
	s.want(t, 0)
}

// Among perfect instances one that fails now and then, as all do some day, is no
// outlier to any of the detectors.
func TestNearlyPerfectIsNoOutlier(t *testing.T) {
	const step = 20 * time.Millisecond
	r := rand.New(rand.NewPCG(1, 2))
	s := watch(8, breaker.OutlierOptions{GatewayFailures: 5})
	for end, failed := s.now+time.Hour, 0; s.now < end; s.now += step {
		for i := range s.instances {
			reason := call.OK
			if i == 3 && r.IntN(1000) == 0 {
				reason, failed = call.Unavailable, failed+1
			}
			s.record(i, 1, reason)
		}
		if s.now+step >= end && failed < 100 {
			t.Errorf("only %d failures", failed)
		}
	}
	if len(s.told) > 0 {
		t.Errorf("told %+v", s.told)
	}
}

func TestSuccessRatesAreCompared(t *testing.T) {
	rates := func(o breaker.OutlierOptions, failures ...int) *service {
		o.Failures, o.FailureRatio = -1, -1
		s := watch(len(failures), o)
		s.record(0, 1, call.OK)
		for i, n := range failures {
			s.record(i, n, call.Faulty)
			s.record(i, 1000-n, call.OK)
		}
		s.now += 9 * time.Second
		s.record(1, 1, call.OK)
		s.want(t)
		s.now += time.Second / 2
		s.Sweep(s.now + 500*time.Millisecond)
		return s
	}
	rates(breaker.OutlierOptions{Window: 20 * time.Second}, 0, 0, 0, 0, 0, 0, 300, 0).want(t, 6)
	rates(breaker.OutlierOptions{Window: 20 * time.Second}, 0, 0, 1, 0, 0, 0, 0, 0).want(t)
	rates(breaker.OutlierOptions{Window: 20 * time.Second}, 300, 0, 0, 0).want(t) // too few to compare
	rates(breaker.OutlierOptions{Window: 20 * time.Second}, 300, 290, 310, 300, 300).want(t)
	rates(breaker.OutlierOptions{Window: 20 * time.Second, MinGap: -1}, 0, 0, 1, 0, 0, 0, 0, 0).want(t, 2)
	rates(breaker.OutlierOptions{Window: 20 * time.Second, Deviations: -1}, 0, 0, 0, 0, 0, 0, 300, 0).want(t)
}

// With Envoy's own settings a service of fewer than ten never has one ejected.
func TestStrict(t *testing.T) {
	o := breaker.OutlierOptions{MaxEjectedRatio: 0.1, Strict: true}
	nine := watch(9, o)
	nine.record(0, 100, call.Faulty)
	nine.want(t)
	ten := watch(10, o)
	ten.record(0, 100, call.Faulty)
	ten.want(t, 0)
}

func TestTheLastOneStays(t *testing.T) {
	for n, want := range map[int]int{1: 0, 2: 1, 3: 2, 10: 9} {
		s := watch(n, breaker.OutlierOptions{MaxEjectedRatio: 1, PanicRatio: -1})
		for i := range n {
			s.record(i, 5, call.Faulty)
		}
		if out, of := s.Ejected(s.now); out != want || of != n {
			t.Errorf("%d of %d are out, want %d", out, of, want)
		}
	}
}

// Those who left must not turn a few ejections into too many.
func TestForgettingBringsBack(t *testing.T) {
	s := watch(10, breaker.OutlierOptions{Jitter: -1})
	for i := range 3 {
		s.record(i, 5, call.Faulty)
		s.now += time.Second
	}
	s.want(t, 0, 1, 2)
	for _, w := range s.instances[4:] {
		s.Forget(s.now, w)
	}
	s.want(t, 2) // of four, one; the last one that went
	s.Forget(s.now, s.instances[2])
	s.record(2, 5, call.Faulty)
	if out, of := s.Ejected(s.now); out != 0 || of != 3 {
		t.Errorf("%d of %d out", out, of)
	}
}

// Whatever happens, by the watch's own act the service keeps its panic floor,
// and never more are out than it may.
func TestFloorsHold(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		o := breaker.OutlierOptions{
			MaxEjectedRatio: rapid.Float64Range(0.01, 1).Draw(t, "most"),
			PanicRatio:      rapid.Float64Range(0.01, 1).Draw(t, "floor"),
			MinInstances:    2, RateRequests: 5, MinRequests: 5,
			Window: rapid.SampledFrom([]time.Duration{time.Second, time.Minute}).Draw(t, "window"),
		}
		s := watch(rapid.IntRange(0, 12).Draw(t, "instances"), o)
		out := map[string]bool{}
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			s.now += time.Duration(rapid.Int64Range(0, int64(10*time.Second)).Draw(t, "gap"))
			switch what := rapid.IntRange(0, 20).Draw(t, "what"); {
			case what == 0:
				s.instances = append(s.instances, s.Watch("new"))
			case len(s.instances) == 0:
			case what == 1:
				i := rapid.IntRange(0, len(s.instances)-1).Draw(t, "leaves")
				s.Forget(s.now, s.instances[i])
				s.instances = append(s.instances[:i:i], s.instances[i+1:]...)
			default:
				i := rapid.IntRange(0, len(s.instances)-1).Draw(t, "which")
				s.record(i, rapid.IntRange(1, 6).Draw(t, "times"), rapid.SampledFrom(call.Reasons()).Draw(t, "reason"))
			}
			ejected, n := s.Ejected(s.now)
			if n != len(s.instances) {
				t.Fatalf("watches %d of %d", n, len(s.instances))
			}
			if breaker.Panicking(n-ejected, n, o.PanicRatio) || n > 0 && ejected == n {
				t.Fatalf("%d of %d are out, the floor is %v", ejected, n, o.PanicRatio)
			}
			if limit := max(int(o.MaxEjectedRatio*float64(n)), 1); ejected > limit {
				t.Fatalf("%d of %d are out, the limit is %d", ejected, n, limit)
			}
		}
		for _, e := range s.told {
			if e.Instance != "new" && out[e.Instance] != (e.Cause == breaker.Returned) {
				t.Fatalf("told of %+v while ejected is %v", e, out[e.Instance])
			}
			out[e.Instance] = e.Cause != breaker.Returned
		}
	})
}

func TestJitterIsBounded(t *testing.T) {
	seen := map[time.Duration]bool{}
	for range 100 {
		s := watch(2, breaker.OutlierOptions{})
		s.record(0, 5, call.Faulty)
		until, _ := s.instances[0].Ejected(s.now)
		if lasts := until - s.now; lasts < 30*time.Second || lasts > 36*time.Second {
			t.Fatalf("lasts %v", lasts)
		}
		seen[until] = true
	}
	if len(seen) < 90 {
		t.Errorf("only %d different ends", len(seen))
	}
}

func TestPanicking(t *testing.T) {
	for _, c := range []struct {
		open, total int
		ratio       float64
		want        bool
	}{{5, 10, 0.5, false}, {4, 10, 0.5, true}, {1, 3, 0.5, true}, {2, 3, 0.5, false}, {0, 10, -1, false}, {0, 0, 0.5, false}} {
		if got := breaker.Panicking(c.open, c.total, c.ratio); got != c.want {
			t.Errorf("%d of %d open at %v: %v", c.open, c.total, c.ratio, got)
		}
	}
}

func TestOutlierOptionsNameEveryFault(t *testing.T) {
	err := breaker.OutlierOptions{
		FailureRatio: 2, MinGap: 2, Jitter: 2, MaxEjectedRatio: -1, PanicRatio: 2, EnforceRatio: -1,
		MinRequests: -1, MinInstances: -1, RateRequests: -1, Window: -1, Interval: -1, Base: -1, Max: -1,
	}.Validate()
	for _, field := range []string{
		"FailureRatio", "MinGap", "Jitter", "MaxEjectedRatio", "PanicRatio", "EnforceRatio",
		"MinRequests", "MinInstances", "RateRequests", "Window", "Interval", "Base", "Max",
	} {
		if err == nil || !strings.Contains(err.Error(), field+" ") {
			t.Errorf("%v does not name %s", err, field)
		}
	}
	if err := (breaker.OutlierOptions{}).Validate(); err != nil {
		t.Error(err)
	}
}

func BenchmarkRecord(b *testing.B) {
	s := watch(10, breaker.OutlierOptions{})
	b.ReportAllocs()
	for b.Loop() {
		s.now += time.Microsecond
		s.record(3, 1, call.OK)
	}
}
