package deadletter

import (
	"context"
	"log/slog"
	"sync"
)

// trouble logs when something that is asked of a sink begins to fail and when it
// works again, once each. A full disk can be read, so each thing counts for
// itself.
type trouble struct {
	mu   sync.Mutex
	with map[string]bool
}

func (t *trouble) about(ctx context.Context, log *slog.Logger, doing string, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.with[doing] == (err != nil) {
		return
	}
	if t.with == nil {
		t.with = map[string]bool{}
	}
	t.with[doing] = err != nil
	if err != nil {
		log.ErrorContext(ctx, "the sink of dead letters does not work", "doing", doing, "error", err)
	} else {
		log.InfoContext(ctx, "the sink of dead letters works again", "doing", doing)
	}
}
