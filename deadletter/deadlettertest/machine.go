package deadlettertest

import (
	"errors"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/innermesh/innermesh/deadletter"
)

// model is a sink as simple as it can be, and the copies of letters that
// somebody holds, fresh and stale ones.
type model struct {
	sink    deadletter.Sink
	now     time.Time
	letters map[string]deadletter.Letter
	held    []deadletter.Letter
}

// machine does what comes to mind, and compares the sink with the model.
func machine(t *testing.T, open func(t TB) deadletter.Sink) {
	rapid.Check(t, func(t *rapid.T) {
		m := &model{sink: open(t), now: time.Unix(1_900_000_000, 0).UTC(), letters: map[string]deadletter.Letter{}}
		t.Repeat(map[string]func(*rapid.T){
			"put": m.put, "claim": m.claim, "read": m.read, "update": m.update, "remove": m.remove,
			"wait": func(t *rapid.T) {
				m.now = m.now.Add(time.Duration(rapid.IntRange(1, 90).Draw(t, "seconds")) * time.Second)
			},
			"": m.compare,
		})
	})
}

var states = []deadletter.State{deadletter.Queued, deadletter.Waiting, deadletter.Parked}

func (m *model) put(t *rapid.T) {
	l := Letter(rapid.IntRange(0, 7).Draw(t, "letter"))
	l.State = rapid.SampledFrom(states).Draw(t, "state")
	l.Service = rapid.SampledFrom([]string{"orders", "stock"}).Draw(t, "service")
	l.NotBefore = m.now.Add(time.Duration(rapid.IntRange(-60, 60).Draw(t, "due")) * time.Second)
	if rapid.Bool().Draw(t, "expires") {
		l.Expires = m.now.Add(time.Minute)
	}
	err := m.sink.Put(t.Context(), l)
	if _, exists := m.letters[l.ID]; exists {
		mustBe(t, "put of what is there", err, deadletter.ErrExists)
		return
	}
	mustBe(t, "put", err, nil)
	page, err := m.sink.List(t.Context(), deadletter.Query{Filter: deadletter.Filter{IDs: []string{l.ID}}})
	if err != nil || len(page.Letters) != 1 {
		t.Fatalf("list what was put: %v, %v", page, err)
	}
	l.Revision = page.Letters[0].Revision
	m.letters[l.ID] = l
	m.held = append(m.held, l)
}

func (m *model) read(t *rapid.T) {
	f := deadletter.Filter{
		States:   rapid.SliceOfDistinct(rapid.SampledFrom(states), rapid.ID).Draw(t, "states"),
		Services: rapid.SliceOfDistinct(rapid.SampledFrom([]string{"orders", "stock"}), rapid.ID).Draw(t, "services"),
	}
	page, err := m.sink.List(t.Context(), deadletter.Query{Filter: f})
	mustBe(t, "list", err, nil)
	var want []string
	for id, l := range m.letters {
		if f.Match(&l) {
			want = append(want, id)
		}
	}
	slices.Sort(want)
	if got := idsOf(page.Letters); !slices.Equal(got, want) {
		t.Fatalf("list %v: got %v, want %v", f, got, want)
	}
	m.held = append(m.held, page.Letters...)
}

func (m *model) claim(t *rapid.T) {
	c := deadletter.Claim{
		Owner: rapid.SampledFrom([]string{"a", "b"}).Draw(t, "owner"), Lease: time.Minute, Now: m.now,
		Limit:  rapid.IntRange(1, 4).Draw(t, "limit"),
		Filter: deadletter.Filter{States: []deadletter.State{rapid.SampledFrom(states).Draw(t, "state")}},
		Except: rapid.SampledFrom([][]string{nil, {"stock"}}).Draw(t, "except"),
	}
	got, err := m.sink.Claim(t.Context(), c)
	mustBe(t, "claim", err, nil)
	var due []deadletter.Letter
	for _, l := range m.letters {
		if c.Filter.Match(&l) && !slices.Contains(c.Except, l.Service) && !l.NotBefore.After(m.now) && !l.Leased(m.now) && !l.Expired(m.now) {
			due = append(due, l)
		}
	}
	if len(got) != min(len(due), c.Limit) {
		t.Fatalf("claim %d of %d that are due: got %d", c.Limit, len(due), len(got))
	}
	for _, l := range got {
		if !slices.ContainsFunc(due, func(d deadletter.Letter) bool { return d.ID == l.ID }) {
			t.Fatalf("%v is not due: %v", l, m.letters[l.ID])
		}
		if l.Owner != c.Owner || !l.LeasedUntil.Equal(m.now.Add(time.Minute)) {
			t.Fatalf("%s is leased to %q until %v", l.ID, l.Owner, l.LeasedUntil)
		}
		if l.Revision == m.letters[l.ID].Revision {
			t.Fatalf("the claim of %s has not changed its revision", l.ID)
		}
		m.letters[l.ID] = l
	}
	m.held = append(m.held, got...)
}

func (m *model) update(t *rapid.T) {
	l, verdict := m.pick(t)
	if rapid.Bool().Draw(t, "release") {
		l.Owner, l.LeasedUntil = "", time.Time{}
	}
	l.State = rapid.SampledFrom(states).Draw(t, "state")
	l.Deliveries++
	got, err := m.sink.Update(t.Context(), l)
	mustBe(t, "update", err, verdict)
	if err == nil {
		m.letters[l.ID] = got
		m.held = append(m.held, got)
	}
}

func (m *model) remove(t *rapid.T) {
	l, verdict := m.pick(t)
	err := m.sink.Remove(t.Context(), l)
	mustBe(t, "remove", err, verdict)
	if err == nil {
		delete(m.letters, l.ID)
	}
}

// pick takes a copy that somebody holds, and says what changing it must lead to.
func (m *model) pick(t *rapid.T) (deadletter.Letter, error) {
	if len(m.held) == 0 {
		t.Skip("nobody holds a letter")
	}
	l := m.held[rapid.IntRange(0, len(m.held)-1).Draw(t, "copy")]
	switch have, ok := m.letters[l.ID]; {
	case !ok:
		return l, deadletter.ErrNotFound
	case have.Revision != l.Revision:
		return l, deadletter.ErrStale
	default:
		return l, nil
	}
}

func (m *model) compare(t *rapid.T) {
	page, err := m.sink.List(t.Context(), deadletter.Query{})
	mustBe(t, "list", err, nil)
	if len(page.Letters) != len(m.letters) {
		t.Fatalf("there are %d letters, want %d", len(page.Letters), len(m.letters))
	}
	for _, l := range page.Letters {
		want := m.letters[l.ID]
		if l.Revision != want.Revision || l.State != want.State || l.Deliveries != want.Deliveries || l.Owner != want.Owner ||
			!l.LeasedUntil.Equal(want.LeasedUntil) || !l.NotBefore.Equal(want.NotBefore) || string(l.Body) != string(want.Body) {
			t.Fatalf("got %v revision %d of %q, want %v revision %d of %q", l, l.Revision, l.Owner, want, want.Revision, want.Owner)
		}
	}
}

func mustBe(t *rapid.T, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("%s: got %v, want %v", what, err, want)
	}
}
