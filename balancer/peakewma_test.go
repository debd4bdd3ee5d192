package balancer_test

import (
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/innermesh/innermesh/balancer"
	"github.com/innermesh/innermesh/call"
)

const start = 1000 * time.Hour

func within(t *testing.T, what string, got, want time.Duration, part float64) {
	t.Helper()
	if math.Abs(float64(got-want)) > part*float64(want) {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

func TestEstimate(t *testing.T) {
	m := new(balancer.Member)
	answer := func(now, took time.Duration, r call.Reason, after time.Duration) {
		m.Start(now - took)
		m.Finish(now, took, r, after)
	}
	if got := m.Latency(start); got != 0 {
		t.Errorf("never asked, yet %v", got)
	}
	now := start
	answer(now, 20*time.Millisecond, call.OK, 0)
	within(t, "the first sample", m.Latency(now), 20*time.Millisecond, 1e-3)
	answer(now, 80*time.Millisecond, call.OK, 0)
	within(t, "a peak", m.Latency(now), 80*time.Millisecond, 1e-3)
	now += 10 * time.Second
	within(t, "a peak of 10 s ago", m.Latency(now), 80*time.Millisecond*368/1000, 5e-3)
	answer(now, 10*time.Millisecond, call.OK, 0)
	within(t, "a peak and a low", m.Latency(now), (80*368+10*632)*time.Millisecond/1000, 5e-3)
	answer(now, time.Millisecond, call.Unavailable, 0)
	within(t, "a fast failure", m.Latency(now), 5*time.Second, 1e-3)
	answer(now, time.Millisecond, call.Throttled, time.Hour)
	within(t, "pushback for an hour", m.Latency(now), 300*time.Second, 1e-3)
	before := m.Latency(now)
	for _, r := range []call.Reason{call.Refused, call.Rejected, call.Canceled} {
		answer(now, time.Second, r, 0)
	}
	if got := m.Latency(now); got != before {
		t.Errorf("neutral outcomes made %v of %v", got, before)
	}
	answer(now, 400*time.Second, call.Canceled, 0)
	within(t, "a cancelled call that took longer than all", m.Latency(now), 400*time.Second, 1e-3)
	if got := m.Latency(now + 1000*time.Hour); got != 0 {
		t.Errorf("remembers %v after weeks", got)
	}
}

// Attempts that lose to early hedges must not make an instance that never answers
// look as fast as they were given up.
func TestOutrunInARow(t *testing.T) {
	const early = 10 * time.Millisecond
	m, now := new(balancer.Member), start
	lose := func() {
		m.Start(now)
		now += early
		m.Outrun(now, early)
		m.End()
	}
	for want := early; want < time.Second; want *= 2 {
		lose()
		within(t, "outrun again", m.Latency(now), want, 1e-3)
		m.Start(now)
		m.Finish(now, early, call.Expired, 0) // no answer either
	}
	for range 1000 {
		lose()
	}
	within(t, "outrun for ever", m.Latency(now), 5*time.Second, 1e-2)

	m = new(balancer.Member)
	for range 100 { // an answer between says that it is as fast as the others
		lose()
		m.Start(now)
		m.Finish(now, 5*time.Millisecond, call.OK, 0)
	}
	within(t, "outrun now and then", m.Latency(now), early, 1e-2)
}

// A moment of silence is one, however many attempts have met it; and callers who go
// away by nature say no more than that it would have taken longer.
func TestGivenUpIsNotSlow(t *testing.T) {
	const moment = 10 * time.Millisecond
	m := new(balancer.Member)
	for i := range 100 {
		m.Start(start)
		m.Outrun(start+moment+time.Duration(i)*time.Microsecond, moment)
	}
	within(t, "outrun all at once", m.Latency(start+moment), moment, 1e-2)

	m = new(balancer.Member)
	for i := range 100 {
		m.Start(start)
		m.Finish(start+time.Duration(i)*moment, moment, call.Canceled, 0)
	}
	within(t, "canceled in a row", m.Latency(start+100*moment), moment, 1e-2)
}

// Whatever the samples, the estimate lies between the least and the largest,
// and sinks while nothing is heard.
func TestEstimateStaysWithinItsSamples(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m, now := new(balancer.Member), start
		var most time.Duration
		for range rapid.IntRange(1, 50).Draw(t, "samples") {
			now += time.Duration(rapid.Int64Range(0, int64(20*time.Second)).Draw(t, "gap"))
			took := time.Duration(rapid.Int64Range(1, int64(time.Minute)).Draw(t, "took"))
			m.Start(now)
			m.Finish(now, took, call.OK, 0)
			most = max(most, took)
			if got := m.Latency(now); float64(got) > 1.001*float64(most) || float64(got) < 0.999*float64(took) {
				t.Fatalf("%v after %v, the largest was %v", got, took, most)
			}
			if later := m.Latency(now + time.Second); later > m.Latency(now) {
				t.Fatalf("grew to %v without a sample", later)
			}
		}
	})
}

// picks counts where n picks go without any of them being under way.
func picks(p balancer.Picker, n int, now time.Duration) map[int]int {
	count := map[int]int{}
	for range n {
		count[p.Pick(balancer.Info{Now: now})]++
	}
	return count
}

func TestPeakEWMAPrefersWhoAnswersFirst(t *testing.T) {
	members := newMembers(2)
	p := build(t, balancer.PeakEWMA, members)
	for i, took := range []time.Duration{10 * time.Millisecond, 35 * time.Millisecond} {
		members[i].Start(start)
		members[i].Finish(start, took, call.OK, 0)
	}
	for load := range 3 { // 10, 20 and 30 ms against 35
		if got := picks(p, 100, start); got[0] != 100 {
			t.Errorf("with %d under way: picks %v", load, got)
		}
		members[0].Begin()
	}
	if got := picks(p, 100, start); got[1] != 100 { // 40 ms
		t.Errorf("with three under way: picks %v", got)
	}
}

// A new member is taken for as fast as the others, be they fast or slow.
func TestPeakEWMAAsksNewMembers(t *testing.T) {
	for _, usual := range []time.Duration{time.Millisecond, 10 * time.Second} {
		members := newMembers(3)
		for _, m := range members[:2] {
			m.Start(start)
			m.Finish(start, usual, call.OK, 0)
		}
		got := picks(build(t, balancer.PeakEWMA, members), 3000, start)
		if got[2] < 800 || got[2] > 1200 {
			t.Errorf("others take %v: the new member got %d of 3000 picks", usual, got[2])
		}
	}
}

// A member that answers nobody looks slower from moment to moment, though no
// attempt has failed yet; one that carries an answered stream does not.
func TestPeakEWMANoticesSilence(t *testing.T) {
	members := newMembers(2)
	p := build(t, balancer.PeakEWMA, members)
	for _, m := range members {
		m.Start(start)
		m.Finish(start, 10*time.Millisecond, call.OK, 0)
	}
	members[0].Start(start)
	members[1].Start(start)
	members[1].Begin()
	members[1].Begin()
	now := start + 500*time.Millisecond
	members[1].Answer(now, 10*time.Millisecond, call.OK, 0)
	if got := picks(p, 100, now); got[1] != 100 {
		t.Errorf("picks %v, although the first has been silent for 500 ms", got)
	}
	now += time.Hour // the stream goes on, answered
	if got := picks(p, 100, now); got[1] != 100 {
		t.Errorf("picks %v: an answered stream is no silence", got)
	}
}

// In slow start a member's share grows from a tenth to all of it; where all are
// new it does nothing.
func TestSlowStart(t *testing.T) {
	for _, policy := range []balancer.Policy{
		balancer.P2C, balancer.PeakEWMA, balancer.RoundRobin, balancer.WeightedRoundRobin, balancer.Random,
	} {
		members := newMembers(10)
		members[4].Warm(start)
		p := build(t, policy, members)
		for _, age := range []time.Duration{0, 15 * time.Second, 30 * time.Second} {
			want := max(0.1, age.Seconds()/30)
			got := float64(picks(p, 50_000, start+age)[4]) / 5000
			if math.Abs(got-want) > 0.12 {
				t.Errorf("%s: %.2f of its share at the age of %v, want %.2f", policy, got, age, want)
			}
		}
		for _, m := range members {
			m.Warm(start)
		}
		for i, got := range picks(p, 50_000, start) {
			if got < 4200 || got > 5800 {
				t.Errorf("%s: all are new, member %d got %d picks of 50000", policy, i, got)
			}
		}
	}
}

func TestWeightsHoldUnderLoad(t *testing.T) {
	weights := []int{100, 200, 300}
	for _, policy := range []balancer.Policy{balancer.P2C, balancer.PeakEWMA} {
		members := newMembers(len(weights))
		for i, w := range weights {
			members[i].SetWeight(w)
		}
		p := build(t, policy, members)
		for range 600 {
			members[p.Pick(balancer.Info{Now: start})].Begin()
		}
		for i, w := range weights {
			if got := members[i].Inflight(); got < w*85/100 || got > w*115/100 {
				t.Errorf("%s: weight %d carries %d of 600", policy, w, got)
			}
		}
	}
}
