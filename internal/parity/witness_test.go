package parity_test

import (
	"context"
	"fmt"
	"sync"

	"github.com/innermesh/innermesh/discovery"
	discoveryconsul "github.com/innermesh/innermesh/discovery/consul"
)

// witness notes which watches have been told something, be it an error.
type witness struct {
	*discoveryconsul.Source

	mu    sync.Mutex
	told  int
	again chan struct{} // closed when one more was told
}

// WatchQuery implements [discovery.Querier].
func (w *witness) WatchQuery(ctx context.Context, q discovery.Query, tell func(discovery.Update)) error {
	var once sync.Once
	return w.Source.WatchQuery(ctx, q, func(u discovery.Update) {
		tell(u)
		once.Do(w.heard)
	})
}

func (w *witness) heard() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.told++
	if w.again != nil {
		close(w.again)
		w.again = nil
	}
}

// wait returns when so many watches have been told something.
func (w *witness) wait(ctx context.Context, watches int) error {
	for {
		w.mu.Lock()
		if w.told >= watches {
			w.mu.Unlock()
			return nil
		}
		if w.again == nil {
			w.again = make(chan struct{})
		}
		told, again := w.told, w.again
		w.mu.Unlock()
		select {
		case <-again:
		case <-ctx.Done():
			return fmt.Errorf("%d of %d targets are known: %w", told, watches, context.Cause(ctx))
		}
	}
}
