package mesh

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/innermesh/innermesh/deadletter"
	"github.com/innermesh/innermesh/internal/admin"
	"github.com/innermesh/innermesh/saga"
)

// SagaLister lists sagas; a [saga.Coordinator] does.
type SagaLister interface {
	List(ctx context.Context, q saga.Query) (sagas []saga.Info, next string, err error)
}

// LetterLister lists letters; every [deadletter.Sink] does.
type LetterLister interface {
	List(ctx context.Context, q deadletter.Query) (deadletter.Page, error)
}

// ShowSagas has the live page show the sagas of a coordinator that have not ended:
// where they stand, but not what is in them.
func (m *Mesh) ShowSagas(c SagaLister) {
	m.live.mu.Lock()
	defer m.live.mu.Unlock()
	m.live.sagas = append(m.live.sagas, c)
}

// ShowLetters has the live page show how many letters a sink has for whom, and why;
// not what is in them.
func (m *Mesh) ShowLetters(s LetterLister) {
	m.live.mu.Lock()
	defer m.live.mu.Unlock()
	m.live.letters = append(m.live.letters, s)
}

// How much is looked at, at most, for a page.
const (
	sagasShown   = 100
	lettersRead  = 1000
	lettersAPage = 200
)

// adminWork tells what goes on beyond single calls.
func (m *Mesh) adminWork(ctx context.Context) admin.Work {
	m.live.mu.Lock()
	sagas, letters := slices.Clone(m.live.sagas), slices.Clone(m.live.letters)
	m.live.mu.Unlock()
	w := admin.Work{
		Sagas: []admin.Saga{}, Letters: []admin.Letters{},
		Shown: map[string]bool{"sagas": len(sagas) > 0, "letters": len(letters) > 0},
	}
	for _, c := range sagas {
		if err := listSagas(ctx, c, &w); err != nil {
			w.Faults = append(w.Faults, err.Error())
		}
	}
	for _, s := range letters {
		if err := listLetters(ctx, s, &w); err != nil {
			w.Faults = append(w.Faults, fmt.Sprintf("list letters: %v", err))
		}
	}
	counts := map[string]uint64{}
	m.guards.count(func(result string, n uint64) { counts[result] += n })
	for _, result := range slices.Sorted(maps.Keys(counts)) {
		w.Idempotency = append(w.Idempotency, admin.Fact{Name: result, Value: strconv.FormatUint(counts[result], 10)})
	}
	return w
}

func listSagas(ctx context.Context, c SagaLister, w *admin.Work) error {
	// Those that are stuck first: they wait for somebody.
	for _, statuses := range [][]saga.Status{{saga.Stuck}, {saga.Running, saga.Compensating}} {
		all, _, err := c.List(ctx, saga.Query{Statuses: statuses, Limit: sagasShown})
		if err != nil {
			return err
		}
		for _, i := range all {
			a := admin.Saga{
				ID: i.ID, Name: i.Name, Status: string(i.Status), Tone: admin.OK, Why: clip(cmp.Or(i.Error, i.Parked)),
				Created: i.Created, Updated: i.Updated, Step: step(i),
			}
			switch {
			case i.Status == saga.Stuck:
				a.Tone = admin.Bad
			case i.Status == saga.Compensating || i.Parked != "":
				a.Tone = admin.Warn
			}
			w.Sagas = append(w.Sagas, a)
		}
	}
	return nil
}

// step tells how far a saga has come.
func step(i saga.Info) string {
	done := 0
	for _, s := range i.Steps {
		switch s.Status {
		case saga.Done:
			done++
		case saga.Begun, saga.Failed, saga.Undoing:
			return fmt.Sprintf("%s %s, attempt %d", s.Name, s.Status, max(s.Attempts, s.Undos))
		case saga.Pending, saga.Undone:
		}
	}
	return fmt.Sprintf("%d of %d steps done", done, len(i.Steps))
}

func listLetters(ctx context.Context, s LetterLister, w *admin.Work) error {
	type kind struct{ service, state string }
	found := map[kind]*admin.Letters{}
	cursor, read := "", 0
	more := true
	for more && read < lettersRead {
		page, err := s.List(ctx, deadletter.Query{Cursor: cursor, Limit: lettersAPage})
		if err != nil {
			return err
		}
		for _, l := range page.Letters {
			k := kind{l.Service, string(l.State)}
			if found[k] == nil {
				found[k] = &admin.Letters{Service: l.Service, State: string(l.State), Oldest: l.Created}
			}
			found[k].Count++
			found[k].Reason = clip(cmp.Or(l.Error, l.Reason))
		}
		read += len(page.Letters)
		cursor = page.Next
		more = cursor != ""
	}
	for _, k := range slices.SortedFunc(maps.Keys(found), func(a, b kind) int {
		return cmp.Or(cmp.Compare(a.service, b.service), cmp.Compare(a.state, b.state))
	}) {
		found[k].AtLeast = more
		w.Letters = append(w.Letters, *found[k])
	}
	return nil
}
