package saga

import (
	"context"
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/innermesh/innermesh/deadletter"
	"github.com/innermesh/innermesh/idempotency"
)

// Names in the letters of sagas that are stuck.
const (
	// Protocol is that of the letters: [Coordinator.Send] sends them.
	Protocol = "saga"
	// SagaLabel has the ID of the saga, DefinitionLabel its definition, and
	// StepLabel the first step that failed.
	SagaLabel       = "saga"
	DefinitionLabel = "saga.definition"
	StepLabel       = "saga.step"
)

// letter writes down a saga that is stuck with steps in a status; it is called
// under mu. Each time that the saga is stuck is another letter.
func (x *run) letter(of StepStatus) deadletter.Letter {
	now := time.Now().UTC().Round(0)
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %s %d", x.r.Key, x.r.ID, x.r.Stuck))
	l := deadletter.Letter{
		ID:    "saga-" + strings.ToLower(base32.HexEncoding.WithPadding(base32.NoPadding).EncodeToString(sum[:20])),
		State: deadletter.Parked, Protocol: Protocol, Service: x.r.Name, Method: "forward",
		Body: x.r.State, Trace: maps.Clone(x.r.Trace), Created: now, Error: x.r.Error,
		Labels: map[string]string{SagaLabel: x.r.ID, DefinitionLabel: x.r.Type.String()},
	}
	if x.r.Back {
		l.Method = "back"
	}
	for i := range x.r.Steps {
		st := &x.r.Steps[i]
		if st.Status != of {
			continue
		}
		l.Attempts = append(l.Attempts, deadletter.Attempt{At: now, Tries: st.Attempts + st.Undos, Instance: st.Name, Error: st.Error})
		if l.Key == "" {
			l.Labels[StepLabel] = st.Name
			l.Key = idempotency.FormatKey(idempotency.Derive(x.r.Key, l.Method+" "+st.Name))
		}
	}
	l.Deliveries = len(l.Attempts)
	l.Fill(now)
	return l
}

// mourn hands a letter over. The saga itself is in the log, so that nothing is
// lost without the letter.
func (x *run) mourn(l deadletter.Letter) {
	if x.c.o.Letters == nil {
		return
	}
	var err error
	for range 3 {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(x.ctx), x.c.o.patience())
		err = x.c.o.Letters.Put(ctx, l)
		cancel()
		if err == nil || errors.Is(err, deadletter.ErrExists) {
			return
		}
	}
	x.c.o.Logger.Error("a saga that is stuck has no letter", "saga", x.r.ID, "error", err)
}

// Send implements [deadletter.Sender] for letters of stuck sagas: it is
// [Coordinator.Retry] of the saga, and nil if that is not stuck any more.
//
//	deadletter.Senders{saga.Protocol: c, "http": ...}
func (c *Coordinator) Send(ctx context.Context, l deadletter.Letter) error {
	id := l.Labels[SagaLabel]
	if l.Protocol != Protocol || id == "" {
		return fmt.Errorf("send letter %s: it is not one of a saga: %w", l.ID, deadletter.ErrPoison)
	}
	err := c.Retry(ctx, id)
	if errors.Is(err, ErrNotStuck) || errors.Is(err, ErrNotFound) {
		return nil
	}
	return err
}
