package limit

import (
	"cmp"
	"container/list"
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/innermesh/innermesh/call"
	"github.com/innermesh/innermesh/internal/mono"
)

// BulkheadOptions bound what is under way. The zero value is the documented
// default.
type BulkheadOptions struct {
	// Limit is how many calls may be under way. Default 1024; negative: any
	// number.
	Limit int
	// Queue is how many more may wait for a place. Default: none.
	Queue int
	// Wait is how long a call waits at most; the caller's context ends it
	// sooner. Default 100 ms.
	Wait time.Duration
}

func (o BulkheadOptions) withDefaults() BulkheadOptions {
	o.Limit = cmp.Or(o.Limit, 1024)
	if o.Limit < 0 {
		o.Limit = math.MaxInt
	}
	o.Wait = cmp.Or(o.Wait, 100*time.Millisecond)
	return o
}

// Validate names every field that is out of range.
func (o BulkheadOptions) Validate() error {
	var faults []error
	if o.Queue < 0 {
		faults = append(faults, fmt.Errorf("Queue is %d: must not be negative", o.Queue)) //nolint:staticcheck // begins with a field's name
	}
	if o.Wait < 0 {
		faults = append(faults, fmt.Errorf("Wait is %v: must not be negative", o.Wait)) //nolint:staticcheck // begins with a field's name
	}
	return errors.Join(faults...)
}

// Bulkhead bounds how many calls are under way, so that one slow upstream can
// not take all that the process has. It is safe for concurrent use. Places are
// given in the order of coming; while there are enough, no lock is taken.
type Bulkhead struct {
	name    string
	options BulkheadOptions
	taken   atomic.Int64
	waiting atomic.Int64

	mu     sync.Mutex
	queue  list.List // of chan struct{}, each closed when its call is let in
	urgent list.List // the same of critical calls, who go first
}

// NewBulkhead returns an empty bulkhead; name appears in errors.
func NewBulkhead(name string, o BulkheadOptions) *Bulkhead {
	return &Bulkhead{name: name, options: o.withDefaults()}
}

// Enter takes a place, or waits for one as long as the options say and ctx
// allows. It returns a [*FullError], or the cause of ctx.
func (b *Bulkhead) Enter(ctx context.Context) (Leave, error) {
	return b.EnterAs(ctx, Default)
}

// EnterAs is Enter for a call that matters more or less than others: those of
// [Degraded] and [Background] priority may take a part of the places alone, those of
// [Critical] wait in a line of their own, as long as the other, which goes first.
func (b *Bulkhead) EnterAs(ctx context.Context, p Priority) (Leave, error) {
	if most := p.of(int64(b.options.Limit)); p != Default && p != Critical && b.taken.Load() >= most {
		return Leave{}, &FullError{Name: b.name, Limit: int(most)}
	}
	if b.waiting.Load() == 0 && b.take() {
		return Leave{from: b}, nil
	}
	if b.options.Queue == 0 {
		return Leave{}, &FullError{Name: b.name, Limit: b.options.Limit}
	}
	if p == Critical {
		return b.wait(ctx, &b.urgent)
	}
	return b.wait(ctx, &b.queue)
}

// Limit returns how many calls are let in at once.
func (b *Bulkhead) Limit() int { return b.options.Limit }

// Inflight returns how many calls are under way.
func (b *Bulkhead) Inflight() int { return int(b.taken.Load()) }

// Waiting returns how many calls wait for a place.
func (b *Bulkhead) Waiting() int { return int(b.waiting.Load()) }

func (b *Bulkhead) take() bool {
	for {
		n := b.taken.Load()
		if n >= int64(b.options.Limit) {
			return false
		}
		if b.taken.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

func (b *Bulkhead) wait(ctx context.Context, line *list.List) (Leave, error) {
	in, err := b.enqueue(line)
	if err != nil {
		return Leave{}, err
	}
	began := mono.Now()
	timer := time.NewTimer(b.options.Wait)
	defer timer.Stop()
	select {
	case <-in.Value.(chan struct{}):
		return Leave{from: b, waited: mono.Now() - began}, nil
	case <-timer.C:
		err = &FullError{Name: b.name, Limit: b.options.Limit, Waited: b.options.Wait}
	case <-ctx.Done():
		err = fmt.Errorf("wait for one of %d places for %s: %w", b.options.Limit, b.name, context.Cause(ctx))
	}
	if b.withdraw(line, in) {
		return Leave{}, err
	}
	if ctx.Err() != nil { // let in at the same moment, but nobody is there to go
		b.leave(Leave{}, 0, call.Canceled)
		return Leave{}, err
	}
	return Leave{from: b, waited: mono.Now() - began}, nil
}

// enqueue puts a call at the end of a line.
func (b *Bulkhead) enqueue(line *list.List) (*list.Element, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if line.Len() >= b.options.Queue {
		return nil, &FullError{Name: b.name, Limit: b.options.Limit}
	}
	b.waiting.Add(1)
	in := line.PushBack(make(chan struct{}))
	b.admit() // a place may have become free before anybody knew of this one
	return in, nil
}

// withdraw takes a call out of its line, unless it was let in.
func (b *Bulkhead) withdraw(line *list.List, in *list.Element) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	select {
	case <-in.Value.(chan struct{}):
		return false
	default:
	}
	line.Remove(in)
	b.waiting.Add(-1)
	return true
}

// admit lets in who is first, as long as there are places.
func (b *Bulkhead) admit() {
	for _, line := range [...]*list.List{&b.urgent, &b.queue} {
		for first := line.Front(); first != nil && b.take(); first = line.Front() {
			line.Remove(first)
			b.waiting.Add(-1)
			close(first.Value.(chan struct{}))
		}
	}
}

func (b *Bulkhead) leave(Leave, time.Duration, call.Reason) {
	b.taken.Add(-1)
	if b.waiting.Load() > 0 {
		b.mu.Lock()
		b.admit()
		b.mu.Unlock()
	}
}
