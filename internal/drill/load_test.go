package drill

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"
)

const (
	// promised is the rate of calls that a drill must have had, of each protocol.
	promised = 200
	// wanted is the rate that calls are begun at.
	wanted = 220
	// inflight is how many calls may be under way: an open loop that does not keep
	// up has failed.
	inflight = 2000
	// longest is how long a load may last, whatever happens to its test.
	longest = 2 * time.Minute
)

// load calls at a steady rate, however long the answers take.
type load struct {
	name string
	call func(context.Context) (id string, err error)
	pace float64 // calls that are begun in a second; 0: wanted

	stop  context.CancelFunc
	ended chan struct{}

	judged bool
	took   time.Duration // from the begin to the stop
	warm   int           // calls before the begin

	mu      sync.Mutex
	answers map[string]int // by the backend that gave them
	sample  map[string]int // the same, of the calls that were begun since count
	done    int
	faults  []error
}

// begin starts the load; it ends with finish, or with the test.
func (l *load) begin(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), longest)
	l.stop, l.ended = cancel, make(chan struct{})
	go l.run(ctx)
	t.Cleanup(func() {
		l.stop()
		<-l.ended
		if !l.judged { // the test did not get that far
			l.judge(t)
		}
	})
}

func (l *load) run(ctx context.Context) {
	defer close(l.ended)
	var calls sync.WaitGroup
	defer calls.Wait()
	pace := cmp.Or(l.pace, wanted)
	tick := time.NewTicker(time.Duration(float64(time.Second) / pace))
	defer tick.Stop()
	start, before, begun := time.Now(), l.total(), 0
	defer func() { // before the waiting
		l.took = time.Since(start)
		l.warm = before
	}()
	for {
		for due := int(time.Since(start).Seconds() * pace); begun < due; begun++ {
			if begun-(l.total()-before) > inflight {
				l.fault(fmt.Errorf("%d calls under way: the load can not be kept up", inflight))
				return
			}
			calls.Go(l.once)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				l.fault(fmt.Errorf("nobody has ended the load in %v", longest))
			}
			return
		}
	}
}

func (l *load) once() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	l.mu.Lock()
	sample := l.sample
	l.mu.Unlock()
	start := time.Now()
	id, err := l.call(ctx)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.done++
	if err != nil {
		l.faults = append(l.faults, fmt.Errorf("%s, begun at %s: %w", l.name, start.Format("15:04:05.000"), err))
		return
	}
	l.answers[id]++
	if sample != nil {
		sample[id]++
	}
}

// count counts the answers to calls that begin from now on.
func (l *load) count() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sample = map[string]int{}
}

// counted is what was answered since count, by version, and how often.
func (l *load) counted() (by map[string]int, all int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	by = map[string]int{}
	for id, n := range l.sample {
		by[version(id)] += n
		all += n
	}
	return by, all
}

func (l *load) fault(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.faults = append(l.faults, err)
}

func (l *load) total() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.done
}

func (l *load) from(id string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.answers[id]
}

// finish ends the load and judges it.
func (l *load) finish(t *testing.T) {
	t.Helper()
	l.stop()
	<-l.ended
	l.judge(t)
}

// rate is that of the calls from the begin to the stop, when it has ended.
func (l *load) rate() float64 { return float64(l.done-l.warm) / l.took.Seconds() }

func (l *load) judge(t *testing.T) {
	t.Helper()
	l.judged = true
	rate := l.rate()
	t.Logf("%s: %d calls in %v, %.0f a second, %d failed; answers %v",
		l.name, l.done, l.took.Round(time.Millisecond), rate, len(l.faults), l.answers)
	if least := cmp.Or(l.pace*9/10, promised); rate < least {
		t.Errorf("%s: %.0f calls a second, want %.0f: the drill shows nothing", l.name, rate, least)
	}
	for _, err := range l.faults[:min(len(l.faults), 5)] {
		t.Error(err)
	}
}
