package mesh_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/innermesh/innermesh/deadletter"
	"github.com/innermesh/innermesh/idempotency"
	"github.com/innermesh/innermesh/mesh"
	"github.com/innermesh/innermesh/saga"
)

type seenWork struct {
	Sagas []struct {
		ID, Name, Status, Tone, Step, Why string
		Created, Updated                  time.Time
	}
	Letters []struct {
		Service, State, Reason string
		Count                  int
		AtLeast                bool
	}
	Idempotency []struct{ Name, Value string }
	Faults      []string
}

// parcel is the state of the sagas below.
type parcel struct{ Secret string }

// A saga that runs, one that is stuck with its letter, and a request that came
// twice: the page and the API tell of them, and not what is in them.
func TestAdminShowsWork(t *testing.T) {
	ctx := t.Context()
	m := newMesh(t, mesh.Options{Discovery: addresses{}})
	sink := &deadletter.Memory{}
	begun, let := make(chan struct{}), make(chan struct{})
	slow := &saga.Definition[parcel]{Name: "slow", Steps: []saga.Step[parcel]{
		{Name: "address", Do: func(context.Context, *parcel) error { return nil }},
		{Name: "drive", Do: func(ctx context.Context, _ *parcel) error {
			close(begun)
			select {
			case <-let:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}},
	}}
	broken := &saga.Definition[parcel]{Name: "broken", Steps: []saga.Step[parcel]{
		{
			Name: "wrap", Do: func(context.Context, *parcel) error { return nil },
			Undo: func(context.Context, *parcel) error { return saga.Permanent(errors.New("the paper is torn")) },
		},
		{Name: "post", Do: func(context.Context, *parcel) error { return saga.Permanent(errors.New("the post is closed")) }},
	}}
	c, err := saga.New(saga.Options{Log: &saga.Memory{}, Letters: sink, Definitions: []saga.Runnable{slow, broken}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close(ctx) }) // it has ended: what still runs is stopped
	m.ShowSagas(c)
	m.ShowLetters(sink)
	if w := looked[seenWork](t, m, "work"); len(w.Sagas)+len(w.Letters)+len(w.Faults) != 0 {
		t.Errorf("before anything was begun: %+v", w)
	}
	for id, d := range map[string]*saga.Definition[parcel]{"parcel-1": slow, "parcel-2": broken} {
		if err := saga.Start(ctx, c, d, id, parcel{Secret: "hush"}); err != nil {
			t.Fatal(err)
		}
	}
	<-begun
	if i, err := c.Wait(ctx, "parcel-2"); err != nil || i.Status != saga.Stuck {
		t.Fatalf("the saga that can not be taken back is %s: %v", i.Status, err)
	}
	twice(t, m)

	w := looked[seenWork](t, m, "work")
	if len(w.Sagas) != 2 || len(w.Faults) != 0 {
		t.Fatalf("sagas: %+v, faults %q", w.Sagas, w.Faults)
	}
	stuck, running := w.Sagas[0], w.Sagas[1]
	if stuck.ID != "parcel-2" || stuck.Name != "broken" || stuck.Status != "stuck" || stuck.Tone != "bad" ||
		!strings.Contains(stuck.Why, "the paper is torn") || !strings.HasPrefix(stuck.Step, "wrap ") || stuck.Created.IsZero() || stuck.Updated.Before(stuck.Created) {
		t.Errorf("who is stuck is shown as %+v", stuck)
	}
	if running.ID != "parcel-1" || running.Status != "running" || running.Tone != "ok" || running.Step != "drive begun, attempt 1" || running.Why != "" {
		t.Errorf("who runs is shown as %+v", running)
	}
	if len(w.Letters) != 1 || w.Letters[0].Service != "broken" || w.Letters[0].State != "parked" || w.Letters[0].Count != 1 || !strings.Contains(w.Letters[0].Reason, "the paper is torn") {
		t.Errorf("letters: %+v", w.Letters)
	}
	if !slices.ContainsFunc(w.Idempotency, func(f struct{ Name, Value string }) bool { return f.Value == "1" }) {
		t.Errorf("requests with a key: %+v", w.Idempotency)
	}

	page, api := httptest.NewRecorder(), httptest.NewRecorder()
	m.AdminHandler().ServeHTTP(page, httptest.NewRequest(http.MethodGet, "/work", nil))
	m.AdminHandler().ServeHTTP(api, httptest.NewRequest(http.MethodGet, "/api/work", nil))
	for _, want := range []string{"parcel-1", "parcel-2", "the paper is torn", "drive begun", "parked", "broken"} {
		if !strings.Contains(page.Body.String(), want) {
			t.Errorf("the page does not have %q", want)
		}
	}
	if strings.Contains(page.Body.String()+api.Body.String(), "hush") {
		t.Error("the state of a saga, or of its letter, is shown")
	}

	close(let)
	if i, err := c.Wait(ctx, "parcel-1"); err != nil || i.Status != saga.Completed {
		t.Fatalf("%s: %v", i.Status, err)
	}
	if w := looked[seenWork](t, m, "work"); len(w.Sagas) != 1 || w.Sagas[0].ID != "parcel-2" {
		t.Errorf("after one of them has ended: %+v", w.Sagas)
	}
	if err := c.Resolve(ctx, "parcel-2", saga.Compensated, "by hand"); err != nil {
		t.Fatal(err)
	}
	if w := looked[seenWork](t, m, "work"); len(w.Sagas) != 0 {
		t.Errorf("after both of them have ended: %+v", w.Sagas)
	}
}

// twice sends a request with a key two times to a guarded server.
func twice(t *testing.T, m *mesh.Mesh) {
	t.Helper()
	store, err := idempotency.NewMemory(idempotency.MemoryOptions{})
	if err != nil {
		t.Fatal(err)
	}
	guard, err := m.IdempotencyGuard(idempotency.Options{Store: store})
	if err != nil {
		t.Fatal(err)
	}
	h := guard.Middleware(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "done") }))
	for range 2 {
		r := httptest.NewRequest(http.MethodPost, "/", http.NoBody)
		r.Header.Set(idempotency.Header, `"one-and-the-same"`)
		h.ServeHTTP(httptest.NewRecorder(), r)
	}
}

// mute is a coordinator whose log does not answer.
type mute struct{}

func (mute) List(context.Context, saga.Query) ([]saga.Info, string, error) {
	return nil, "", errors.New("list sagas: the disk is gone")
}

// What can not be listed is said, and the rest is shown.
func TestAdminTellsWhatItCanNotShow(t *testing.T) {
	m := newMesh(t, mesh.Options{Discovery: addresses{}})
	m.ShowSagas(mute{})
	m.ShowLetters(heap(2))
	w := looked[seenWork](t, m, "work")
	if len(w.Faults) != 1 || !strings.Contains(w.Faults[0], "the disk is gone") || len(w.Letters) != 1 || w.Letters[0].Count != 2 {
		t.Errorf("got %+v", w)
	}
}
