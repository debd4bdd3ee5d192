package audit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// Options say what is kept. Handler is required.
type Options struct {
	// Handler takes the records, as messages "access" with fixed attributes. It is
	// called from one goroutine and may be slow.
	Handler slog.Handler
	// AllowedRatio is the share of what was allowed that is kept, 0 to 1. Default:
	// 1, everything. Negative: nothing.
	AllowedRatio float64
	// Queue is how many records may wait for the handler; those of what was
	// allowed may take half of it. Default: 4,096.
	Queue int
	// Logger hears when records begin to be lost and when that is over. Default:
	// slog.Default().
	Logger *slog.Logger
}

// Validate reports all faults with the names of their fields.
func (o Options) Validate() error {
	var faults []error
	if o.Handler == nil {
		faults = append(faults, fmt.Errorf("%s: is nil, and is required", "Handler"))
	}
	if !(o.AllowedRatio <= 1) { // also of what is no number
		faults = append(faults, fmt.Errorf("AllowedRatio: %v: must be at most 1", o.AllowedRatio))
	}
	if o.Queue < 0 {
		faults = append(faults, fmt.Errorf("%s: %d is negative", "Queue", o.Queue))
	}
	return errors.Join(faults...)
}

// Log keeps records. It is safe for concurrent use. Close it.
type Log struct {
	o     Options
	queue chan Record
	ended chan struct{}
	hurry atomic.Bool // nothing is written any more

	closing sync.RWMutex // held for writing while nobody may put anything into the queue
	closed  bool
	dropped atomic.Uint64
	losing  atomic.Bool
}

// New returns a log and starts its goroutine.
func New(o Options) (*Log, error) {
	if err := o.Validate(); err != nil {
		return nil, fmt.Errorf("audit: %w", err)
	}
	o.AllowedRatio, o.Queue = cmp.Or(o.AllowedRatio, 1), cmp.Or(o.Queue, 4096)
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	l := &Log{o: o, queue: make(chan Record, o.Queue), ended: make(chan struct{})}
	go l.run()
	return l, nil
}

// Wants says whether a record of such a decision would be kept, so that one that
// would not need not be made. It draws: ask once for each decision.
func (l *Log) Wants(allowed bool) bool {
	return !allowed || l.o.AllowedRatio >= 1 || l.o.AllowedRatio > 0 && rand.Float64() < l.o.AllowedRatio
}

// Record keeps a record that is wanted. It never waits: when the queue is full,
// or the log closed, the record is dropped and counted.
func (l *Log) Record(r Record) {
	l.closing.RLock()
	defer l.closing.RUnlock()
	if l.closed || r.Allowed && len(l.queue) >= (cap(l.queue)+1)/2 {
		l.drop()
		return
	}
	select {
	case l.queue <- r:
	default:
		l.drop()
	}
}

// Dropped is how many records were lost.
func (l *Log) Dropped() uint64 { return l.dropped.Load() }

// Close hands over what waits, and returns when that is done. If ctx ends before,
// the rest is dropped, and the error says so; the goroutine ends with the record
// that the handler has.
func (l *Log) Close(ctx context.Context) error {
	l.closing.Lock()
	if !l.closed {
		l.closed = true
		close(l.queue)
	}
	l.closing.Unlock()
	select {
	case <-l.ended:
		return nil
	case <-ctx.Done():
	}
	l.hurry.Store(true)
	return fmt.Errorf("audit: %d records were still to be written: %w", len(l.queue), context.Cause(ctx))
}

func (l *Log) run() {
	defer close(l.ended)
	attrs := make([]slog.Attr, 0, 16)
	for r := range l.queue {
		if l.hurry.Load() {
			l.dropped.Add(1)
			continue
		}
		level := slog.LevelInfo
		if !r.Allowed {
			level = slog.LevelWarn
		}
		if r.Time.IsZero() {
			r.Time = time.Now()
		}
		message := slog.NewRecord(r.Time, level, "access", 0)
		attrs = r.attrs(attrs[:0])
		message.AddAttrs(attrs...)
		ctx := context.Background()
		if !l.o.Handler.Enabled(ctx, level) {
			continue
		}
		if err := l.o.Handler.Handle(ctx, message); err != nil {
			l.dropped.Add(1)
			l.tell(true, err)
		} else if len(l.queue) == 0 {
			l.tell(false, nil)
		}
	}
}

func (l *Log) drop() {
	l.dropped.Add(1)
	l.tell(true, errors.New("they come faster than they can be written"))
}

// tell logs a change, once.
func (l *Log) tell(losing bool, err error) {
	if l.losing.Load() == losing || !l.losing.CompareAndSwap(!losing, losing) {
		return
	}
	if losing {
		l.o.Logger.Error("audit: records are being lost", "error", err)
	} else {
		l.o.Logger.Info("audit: records are kept again", "lost", l.Dropped())
	}
}
