package deadline_test

import (
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/innermesh/innermesh/internal/deadline"
)

// stalls notes when it was ended.
type stalls struct {
	begin time.Time
	after atomic.Int64
	times atomic.Int32
}

func (s *stalls) Stall() { s.after.Store(int64(time.Since(s.begin))); s.times.Add(1) }

// What is waited for ends once it was silent for the time, counted from the last
// that moved; what nobody waits for does not.
func TestVigil(t *testing.T) {
	const limit = 10 * time.Second
	tests := map[string]struct {
		act  func(s *deadline.Silence, pass func(time.Duration))
		want time.Duration // 0 is never
	}{
		"nobody waits": {func(*deadline.Silence, func(time.Duration)) {}, 0},
		"one waits":    {func(s *deadline.Silence, pass func(time.Duration)) { s.Wait() }, limit},
		"a wait that begins late": {func(s *deadline.Silence, pass func(time.Duration)) {
			s.Wait()
			s.Move()
			pass(9 * limit)
			s.Wait()
		}, 10 * limit},
		"a heartbeat": {func(s *deadline.Silence, pass func(time.Duration)) {
			for range 5 {
				s.Wait()
				pass(limit - 1)
				s.Move()
			}
		}, 0},
		"a heartbeat that ends": {func(s *deadline.Silence, pass func(time.Duration)) {
			for range 5 {
				s.Wait()
				pass(limit - time.Second)
				s.Move()
			}
			s.Wait()
		}, 5*(limit-time.Second) + limit},
		"the other direction": {func(s *deadline.Silence, pass func(time.Duration)) {
			s.Wait() // to read
			for range 3 {
				pass(limit / 2)
				s.Wait()
				s.Move()
			}
		}, 3*limit/2 + limit},
		"something else moves": {func(s *deadline.Silence, pass func(time.Duration)) { s.Wait(); pass(limit / 2); s.Stir() }, 3 * limit / 2},
		"ended":                {func(s *deadline.Silence, pass func(time.Duration)) { s.Wait(); s.End(); s.End() }, 0},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var s deadline.Silence
				v := deadline.Vigil{After: limit}
				over := &stalls{begin: time.Now()}
				s.Start(&v, over)
				test.act(&s, time.Sleep)
				time.Sleep(100 * limit)
				want := int32(1)
				if test.want == 0 {
					want = 0
				}
				if got := time.Duration(over.after.Load()); got != test.want || over.times.Load() != want {
					t.Errorf("ended after %v, %d times; want %v", got, over.times.Load(), test.want)
				}
				s.End()
			})
		})
	}
}

func TestVigilThatIsOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s deadline.Silence
		s.Wait() // before it is under any
		s.Move()
		over := new(stalls)
		s.Start(&deadline.Vigil{After: -1}, over)
		s.Wait()
		time.Sleep(time.Hour)
		s.Move()
		if s.End(); over.times.Load() != 0 {
			t.Error("ended, although a silence may last for ever")
		}
	})
}

// Many come, move and go at once; only those that fall silent are ended.
func TestVigilOverMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := deadline.Vigil{After: time.Second}
		var all sync.WaitGroup
		for i := range 500 {
			all.Go(func() {
				var s deadline.Silence
				over := new(stalls)
				s.Start(&v, over)
				for range 20 {
					s.Wait()
					time.Sleep(time.Duration(i) * time.Millisecond)
					s.Move()
				}
				if i%2 == 0 {
					s.Wait()
					time.Sleep(2 * time.Second)
					s.Move()
				}
				s.End()
				if got := over.times.Load(); got != int32(1-i%2) {
					t.Errorf("%d was ended %d times", i, got)
				}
			})
		}
		all.Wait()
	})
}

func TestVigilCostsNoAllocation(t *testing.T) {
	v := deadline.Vigil{After: time.Hour}
	var s deadline.Silence
	over := new(stalls)
	once := func() {
		s.Start(&v, over)
		for range 3 {
			s.Wait()
			s.Move()
		}
		s.End()
	}
	for range 100 { // each group makes its timer
		once()
	}
	if n := testing.AllocsPerRun(1000, once); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkVigil(b *testing.B) {
	v := deadline.Vigil{After: time.Hour}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		var s deadline.Silence
		over := new(stalls)
		for pb.Next() {
			s.Start(&v, over)
			for range 2 {
				s.Wait()
				s.Move()
			}
			s.End()
		}
	})
}
