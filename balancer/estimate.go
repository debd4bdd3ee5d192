package balancer

import (
	"math"
	"sync/atomic"
	"time"
)

// estimate is a peak-sensitive moving average of latencies: a longer sample
// counts at once, shorter ones pull it down over time, and so does silence
// (Finagle's PeakEwma, read without being changed). The first sample is taken
// as it is, for a guess would outlive it by many seconds.
//
// Value and moment share one word, so that neither is ever seen without the
// other: nanoseconds as a float32 above, ticks of about a millisecond below.
// Zero is no sample.
type estimate struct{ word atomic.Uint64 }

const (
	// tick is the resolution of the moment, as a power of two nanoseconds.
	tick = 20
	// memory is how long it takes a sample to sink to 1/e.
	memory = 10 * time.Second
	// halving is what a tick adds to the exponent of 2 when a sample sinks.
	halving = (1 << tick) / float64(memory) * math.Log2E
)

func pack(value float64, now time.Duration) uint64 {
	return uint64(math.Float32bits(float32(value)))<<32 | uint64(uint32(now>>tick))
}

// at returns the estimate in nanoseconds, 0 if there is none.
func (e *estimate) at(now time.Duration) float64 {
	word := e.word.Load()
	return value(word) * sunk(word, now)
}

// observe takes in a sample.
func (e *estimate) observe(now, took time.Duration) {
	for {
		old := e.word.Load()
		w := sunk(old, now)
		was, sample := value(old)*w, max(float64(took), 1)
		next := sample
		if sample <= was {
			if w == 1 { // within a tick of the last one: nothing to pull down yet
				return
			}
			next = was + sample*(1-w)
		}
		if e.word.CompareAndSwap(old, pack(next, now)) {
			return
		}
	}
}

// raise takes in a sample that is only a lower bound.
func (e *estimate) raise(now, took time.Duration) {
	if float64(took) > e.at(now) {
		e.observe(now, took)
	}
}

func value(word uint64) float64 { return float64(math.Float32frombits(uint32(word >> 32))) }

// sunk is the part that is left of a sample of some time ago.
func sunk(word uint64, now time.Duration) float64 {
	ticks := uint32(now>>tick) - uint32(word)
	if ticks == 0 || ticks > 1<<32-1<<16 { // or another goroutine is ahead
		return 1
	}
	return exp2(float64(ticks) * halving)
}

// exp2 returns 2 to the power of -x to within 0.02 %, for x of at least 0. It
// takes a fifth of the time of math.Exp2, and a pick needs two.
func exp2(x float64) float64 {
	if x > 512 {
		return 0
	}
	whole := int(x)
	f := x - float64(whole)
	// The Taylor series of e^(-f ln 2), f below 1.
	p := 1 + f*(-0.6931471806+f*(0.2402265070+f*(-0.0555041087+f*(0.0096181291-f*0.0012))))
	return p * math.Float64frombits(uint64(1023-whole)<<52)
}
