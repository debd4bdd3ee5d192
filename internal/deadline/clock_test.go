package deadline_test

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/innermesh/innermesh/internal/deadline"
	"github.com/innermesh/innermesh/internal/mono"
)

// Whatever comes and goes in which order, each context ends when its own time is
// over, or its caller's patience, and not because of any other.
func TestClockKeepsEachTime(t *testing.T) {
	const usual = 100 * time.Millisecond
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	draw := rand.New(rand.NewPCG(seed, 0))
	synctest.Test(t, func(t *testing.T) {
		var clock deadline.Clock
		var all sync.WaitGroup
		for range 2000 {
			own := usual
			if draw.IntN(4) == 0 { // before or behind others, near or far
				own = time.Duration(draw.Int64N(int64(2*usual))) + 1
			}
			end, how := own, draw.IntN(4)
			if how > 0 {
				end = time.Duration(draw.Int64N(int64(2 * own)))
			}
			c := &deadline.Context{Clock: &clock}
			begin := time.Now()
			c.Start(t.Context(), mono.Now()+own)
			done := c.Done()
			all.Go(func() {
				want := own
				switch {
				case end >= own: // nobody does anything
				case how == 1:
					time.Sleep(end)
					c.Cancel()
					want = end
				default: // the clock is stopped, and somebody else ends it later
					time.Sleep(end)
					if !c.StopClock() {
						t.Errorf("stopped after %v of %v: too late", end, own)
					}
					time.Sleep(own)
					c.Cancel()
					want = end + own
				}
				<-done
				if took := time.Since(begin); took != want {
					t.Errorf("ended after %v, want %v", took, want)
				}
				if byClock := end >= own; c.TimedOut() != byClock {
					t.Errorf("timed out: %v, want %v", c.TimedOut(), byClock)
				}
			})
			if draw.IntN(8) == 0 {
				time.Sleep(time.Duration(draw.Int64N(int64(usual / 4))))
			}
		}
		all.Wait()
	})
}

func TestClockIsSafeForConcurrentUse(t *testing.T) {
	var clock deadline.Clock
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for i := range 500 {
				c := &deadline.Context{Clock: &clock}
				c.Start(context.Background(), mono.Now()+time.Duration(i%3)*10*time.Microsecond+1)
				_ = c.Done()
				switch i % 3 {
				case 0:
					<-c.Done()
				case 1:
					c.StopClock()
					fallthrough
				default:
					c.Cancel()
				}
			}
		})
	}
	all.Wait()
}

func BenchmarkAwaited(b *testing.B) {
	for name, clock := range map[string]*deadline.Clock{"own timer": nil, "clock": new(deadline.Clock)} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					c := deadline.Context{Clock: clock}
					c.Start(context.Background(), mono.Now()+7*time.Second)
					_ = c.Done()
					c.StopClock()
					c.Cancel()
				}
			})
		})
	}
}
