package saga

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// How often the log is looked through, and how much is done at once.
const (
	tendEvery = time.Minute
	tendMost  = 1000
)

// tend is the goroutine that tells of parked sagas, once each, and forgets what
// has ended long ago.
func (c *Coordinator) tend() {
	timer := time.NewTimer(tendEvery)
	defer timer.Stop()
	for told := map[string]bool{}; ; timer.Reset(tendEvery) {
		told = c.survey(told)
		c.expire()
		select {
		case <-timer.C:
		case <-c.drain:
			return
		}
	}
}

// survey tells of sagas that are parked and were not told of, and returns those
// that are.
func (c *Coordinator) survey(told map[string]bool) map[string]bool {
	parked := map[string]bool{}
	q := Query{Statuses: []Status{Running, Compensating}, Except: c.mine}
	for len(parked) < tendMost {
		ctx, cancel := context.WithTimeout(c.base, c.o.patience())
		page, err := c.o.Log.List(ctx, q)
		cancel()
		if c.trouble.about(c.o.Logger, "list", err); err != nil {
			return told
		}
		for _, r := range page.Sagas {
			i := c.info(r)
			if parked[r.ID] = true; !told[r.ID] {
				c.o.Logger.Warn("a saga is parked", "saga", r.ID, "definition", r.Type.String(), "error", i.Parked)
			}
		}
		if q.After = page.Next; q.After == "" {
			break
		}
	}
	return parked
}

func (c *Coordinator) expire() {
	if c.o.Keep < 0 {
		return
	}
	for {
		ctx, cancel := context.WithTimeout(c.base, c.o.patience())
		n, err := c.o.Log.Expire(ctx, time.Now().Add(-c.o.Keep), tendMost)
		cancel()
		if c.trouble.about(c.o.Logger, "expire", err); err != nil || n < tendMost {
			return
		}
		select {
		case <-c.drain:
			return
		default:
		}
	}
}

// trouble tells when something that is asked of the log begins to fail and when
// it works again, once each.
type trouble struct {
	mu   sync.Mutex
	with map[string]bool
}

func (t *trouble) about(log *slog.Logger, doing string, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.with[doing] == (err != nil) {
		return
	}
	if t.with == nil {
		t.with = map[string]bool{}
	}
	if t.with[doing] = err != nil; err != nil {
		log.Error("the log of sagas does not work", "doing", doing, "error", err)
	} else {
		log.Info("the log of sagas works again", "doing", doing)
	}
}
