package deadlettertest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/innermesh/innermesh/deadletter"
)

// TB is what a test of a sink is given: a *testing.T, or a *rapid.T in the state
// machine.
type TB interface {
	Cleanup(f func())
	Context() context.Context
	Fatalf(format string, args ...any)
	Helper()
}

// Run runs all tests. open returns a new, empty sink each time, and closes it in
// a Cleanup.
func Run(t *testing.T, open func(t TB) deadletter.Sink) {
	t.Helper()
	for name, test := range map[string]func(*testing.T, deadletter.Sink){
		"PutAndList":    putAndList,
		"WholeLetter":   wholeLetter,
		"Refusals":      refusals,
		"Pages":         pages,
		"Filters":       filters,
		"ClaimOrder":    claimOrder,
		"ClaimFilters":  claimFilters,
		"Leases":        leases,
		"OneClaimant":   oneClaimant,
		"LastOneWins":   staleCopies,
		"Together":      together,
		"Tend":          tend,
		"ExportImport":  exportImport,
		"EndedContexts": endedContexts,
		"Closed":        closed,
	} {
		t.Run(name, func(t *testing.T) { test(t, open(t)) })
	}
	t.Run("Machine", func(t *testing.T) { machine(t, open) })
}

// Letter returns a letter that is valid, with an ID that sorts by n.
func Letter(n int) deadletter.Letter {
	return deadletter.Letter{
		ID: fmt.Sprintf("letter-%06d", n), State: deadletter.Waiting,
		Protocol: "http", Service: "orders", Method: http.MethodPost, URL: "http://orders/42",
		Key: fmt.Sprintf("key-%d", n), Created: time.Unix(1_800_000_000+int64(n), 0).UTC(), Body: fmt.Appendf(nil, "body %d", n),
	}
}

// full returns a letter in which every field is set.
func full(n int) deadletter.Letter {
	l := Letter(n)
	l.Header = http.Header{"Content-Type": {"application/json"}, "X-Many": {"a", "b"}, "X-Latin": {"caf\xe9"}, "x-bin": {"\x00\xff"}}
	l.Removed = []string{"Authorization"}
	l.Body = []byte{0, 1, 0xff, '\n'}
	l.Trace = map[string]string{"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
	l.Labels = map[string]string{"team": "shop"}
	l.Expires = l.Created.Add(time.Hour)
	l.Attempts = []deadletter.Attempt{{
		At: l.Created, Took: time.Second, Tries: 3, Instance: "orders-1", Sent: "not sent", Reason: "unreachable", Error: "no",
	}}
	l.Deliveries, l.Redrives, l.Reason, l.Error = 4, 2, "unreachable", "no"
	l.NotBefore = l.Created.Add(time.Minute)
	return l
}

func put(t *testing.T, s deadletter.Sink, letters ...deadletter.Letter) {
	t.Helper()
	for _, l := range letters {
		if err := s.Put(t.Context(), l); err != nil {
			t.Fatalf("put %s: %v", l.ID, err)
		}
	}
}

func claim(t *testing.T, s deadletter.Sink, c deadletter.Claim) []deadletter.Letter {
	t.Helper()
	if c.Owner == "" {
		c.Owner = "test"
	}
	if c.Lease == 0 {
		c.Lease = time.Minute
	}
	letters, err := s.Claim(t.Context(), c)
	if err != nil {
		t.Fatalf("claim: %v", err)
	}
	return letters
}

func get(t *testing.T, s deadletter.Sink, id string) deadletter.Letter {
	t.Helper()
	l, err := deadletter.Get(t.Context(), s, id)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// ids lists all letters that match.
func ids(t *testing.T, s deadletter.Sink, f deadletter.Filter) []string {
	t.Helper()
	var found []string
	for l, err := range deadletter.All(t.Context(), s, f) {
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, l.ID)
	}
	return found
}

func idsOf(letters []deadletter.Letter) (ids []string) {
	for _, l := range letters {
		ids = append(ids, l.ID)
	}
	return ids
}

func equal(t *testing.T, what string, got []string, letters ...deadletter.Letter) {
	t.Helper()
	if want := idsOf(letters); !slices.Equal(got, want) {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

func wants(t *testing.T, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: got %v, want %v", what, err, want)
	}
}

func putAndList(t *testing.T, s deadletter.Sink) {
	equal(t, "an empty sink", ids(t, s, deadletter.Filter{}))
	a, b, c := Letter(1), Letter(2), Letter(3)
	put(t, s, c, a, b)
	equal(t, "in order of ID", ids(t, s, deadletter.Filter{}), a, b, c)
	if err := s.Remove(t.Context(), get(t, s, b.ID)); err != nil {
		t.Fatal(err)
	}
	equal(t, "after Remove", ids(t, s, deadletter.Filter{}), a, c)
	_, err := deadletter.Get(t.Context(), s, b.ID)
	wants(t, "get what is gone", err, deadletter.ErrNotFound)
	put(t, s, b)
	equal(t, "put again", ids(t, s, deadletter.Filter{}), a, b, c)
}

func wholeLetter(t *testing.T, s deadletter.Sink) {
	want := full(1)
	put(t, s, want)
	got := get(t, s, want.ID)
	same(t, got, want)
	got.Header.Set("Content-Type", "changed")
	got.Body[0] = 'x'
	same(t, get(t, s, want.ID), want)
}

// same compares two letters but for what the sink decides.
func same(t *testing.T, got, want deadletter.Letter) {
	t.Helper()
	got.Revision, want.Revision = 0, 0
	a, errA := deadletter.Encode(got)
	b, errB := deadletter.Encode(want)
	headers := maps.EqualFunc(got.Header, want.Header, slices.Equal[[]string]) // not by what Encode makes of them
	if errA != nil || errB != nil || !bytes.Equal(a, b) || !headers {
		t.Errorf("got\n%s\nwant\n%s (%v, %v)", a, b, errA, errB)
	}
}

func refusals(t *testing.T, s deadletter.Sink) {
	put(t, s, Letter(1))
	wants(t, "put twice", s.Put(t.Context(), Letter(1)), deadletter.ErrExists)
	bad := Letter(2)
	bad.Key = ""
	if err := s.Put(t.Context(), bad); err == nil || !strings.Contains(err.Error(), "Key") {
		t.Errorf("a letter without a key: got %v", err)
	}
	_, err := s.Update(t.Context(), Letter(3))
	wants(t, "update of nothing", err, deadletter.ErrNotFound)
	wants(t, "remove of nothing", s.Remove(t.Context(), Letter(3)), deadletter.ErrNotFound)
	if _, err := s.Claim(t.Context(), deadletter.Claim{Lease: time.Minute}); err == nil {
		t.Error("a claim without an owner was granted")
	}
	if _, err := s.Claim(t.Context(), deadletter.Claim{Owner: "test"}); err == nil {
		t.Error("a claim without a lease was granted")
	}
	equal(t, "after refusals", ids(t, s, deadletter.Filter{}), Letter(1))
}

func pages(t *testing.T, s deadletter.Sink) {
	var all []deadletter.Letter
	for n := range 7 {
		all = append(all, Letter(n))
	}
	put(t, s, all...)
	for limit := 1; limit <= 8; limit++ {
		var got []string
		q := deadletter.Query{Limit: limit}
		for range 10 {
			p, err := s.List(t.Context(), q)
			if err != nil {
				t.Fatal(err)
			}
			if len(p.Letters) > limit || p.Next != "" && len(p.Letters) < limit {
				t.Errorf("a page of %d has %d letters, and another follows: %t", limit, len(p.Letters), p.Next != "")
			}
			got = append(got, idsOf(p.Letters)...)
			if q.Cursor = p.Next; q.Cursor == "" {
				break
			}
		}
		equal(t, fmt.Sprintf("in pages of %d", limit), got, all...)
	}
}

func filters(t *testing.T, s deadletter.Sink) {
	a, b, c := Letter(1), Letter(2), Letter(3)
	b.Service, b.URL, b.State, b.Labels = "stock", "http://stock/", deadletter.Parked, map[string]string{"team": "shop", "x": "1"}
	c.Protocol, c.Method, c.Reason, c.Expires = "grpc", "/pay.Pay/Charge", "expired", c.Created.Add(time.Second)
	put(t, s, a, b, c)
	for _, test := range []struct {
		name string
		f    deadletter.Filter
		want []deadletter.Letter
	}{
		{"all", deadletter.Filter{}, []deadletter.Letter{a, b, c}},
		{"by ID", deadletter.Filter{IDs: []string{b.ID, "nobody"}}, []deadletter.Letter{b}},
		{"by state", deadletter.Filter{States: []deadletter.State{deadletter.Parked}}, []deadletter.Letter{b}},
		{"by service", deadletter.Filter{Services: []string{"orders", "none"}}, []deadletter.Letter{a, c}},
		{"by protocol", deadletter.Filter{Protocols: []string{"grpc"}}, []deadletter.Letter{c}},
		{"by method", deadletter.Filter{Methods: []string{http.MethodPost}}, []deadletter.Letter{a, b}},
		{"by reason", deadletter.Filter{Reasons: []string{"expired"}}, []deadletter.Letter{c}},
		{"by label", deadletter.Filter{Labels: map[string]string{"team": "shop"}}, []deadletter.Letter{b}},
		{"by a label that differs", deadletter.Filter{Labels: map[string]string{"team": "shop", "x": "2"}}, nil},
		{"by an empty label", deadletter.Filter{Labels: map[string]string{"none": ""}}, nil},
		{"after", deadletter.Filter{After: b.Created}, []deadletter.Letter{b, c}},
		{"before", deadletter.Filter{Before: b.Created}, []deadletter.Letter{a}},
		{"expired", deadletter.Filter{Expired: c.Expires}, []deadletter.Letter{c}},
		{"not yet expired", deadletter.Filter{Expired: c.Expires.Add(-1)}, nil},
		{"by all of it", deadletter.Filter{Services: []string{"stock"}, Protocols: []string{"grpc"}}, nil},
	} {
		equal(t, test.name, ids(t, s, test.f), test.want...)
	}
}

func tend(t *testing.T, s deadletter.Sink) {
	a, b, c, d := Letter(1), Letter(2), Letter(3), Letter(4)
	a.State, a.Redrives, a.NotBefore = deadletter.Parked, 5, time.Now().Add(time.Hour)
	b.Expires = time.Now().Add(-time.Second)
	c.Expires = time.Now().Add(time.Hour)
	d.State = deadletter.Queued
	put(t, s, a, b, c, d)
	if n, err := deadletter.Expire(t.Context(), s, deadletter.Filter{}); n != 1 || err != nil {
		t.Errorf("expired %d, %v; want 1", n, err)
	}
	equal(t, "not expired", ids(t, s, deadletter.Filter{}), a, c, d)
	if n, err := deadletter.Revive(t.Context(), s, deadletter.Filter{}); n != 1 || err != nil {
		t.Errorf("revived %d, %v; want 1", n, err)
	}
	depth, err := deadletter.Count(t.Context(), s, deadletter.Filter{})
	if err != nil || depth.Letters[deadletter.Waiting] != 2 || depth.Letters[deadletter.Queued] != 1 ||
		!depth.Oldest[deadletter.Waiting].Equal(a.Created) {
		t.Errorf("counted %v, %v", depth, err)
	}
	equal(t, "revived", idsOf(claim(t, s, deadletter.Claim{})), a)
	if n, err := deadletter.Discard(t.Context(), s, deadletter.Filter{}); n != 2 || err != nil {
		t.Errorf("discarded %d, %v; want the 2 that nobody has claimed", n, err)
	}
	equal(t, "claimed", ids(t, s, deadletter.Filter{}), a)
}

func exportImport(t *testing.T, s deadletter.Sink) {
	a, b := full(1), Letter(2)
	put(t, s, a, b)
	var lines bytes.Buffer
	if n, err := deadletter.Export(t.Context(), s, &lines, deadletter.Filter{}); n != 2 || err != nil {
		t.Fatalf("exported %d, %v", n, err)
	}
	if n, err := deadletter.Discard(t.Context(), s, deadletter.Filter{IDs: []string{a.ID}}); n != 1 || err != nil {
		t.Fatalf("discarded %d, %v", n, err)
	}
	if n, err := deadletter.Import(t.Context(), s, bytes.NewReader(lines.Bytes())); n != 1 || err != nil {
		t.Errorf("imported %d, %v; want the 1 that was missing", n, err)
	}
	same(t, get(t, s, a.ID), a)
	same(t, get(t, s, b.ID), b)
}

func endedContexts(t *testing.T, s deadletter.Sink) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, list := s.List(ctx, deadletter.Query{})
	_, claim := s.Claim(ctx, deadletter.Claim{Owner: "test", Lease: time.Minute})
	_, update := s.Update(ctx, Letter(1))
	for what, err := range map[string]error{
		"Put": s.Put(ctx, Letter(1)), "List": list, "Claim": claim, "Update": update, "Remove": s.Remove(ctx, Letter(1)),
	} {
		wants(t, what, err, context.Canceled)
	}
}

func closed(t *testing.T, s deadletter.Sink) {
	c, ok := s.(interface{ Close() error })
	if !ok {
		t.Skip("it can not be closed")
	}
	put(t, s, Letter(1))
	for range 2 {
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
	_, list := s.List(t.Context(), deadletter.Query{})
	_, claim := s.Claim(t.Context(), deadletter.Claim{Owner: "test", Lease: time.Minute})
	_, update := s.Update(t.Context(), Letter(1))
	for what, err := range map[string]error{
		"Put": s.Put(t.Context(), Letter(2)), "List": list, "Claim": claim, "Update": update, "Remove": s.Remove(t.Context(), Letter(1)),
	} {
		wants(t, what+" after Close", err, deadletter.ErrClosed)
	}
}
