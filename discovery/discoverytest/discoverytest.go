// Package discoverytest is the conformance suite of [discovery.Source]: what
// every source promises, as tests that run against any of them.
package discoverytest

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/innermesh/innermesh/discovery"
)

// Harness connects the suite to one kind of source.
type Harness struct {
	// Open returns a source that holds these services. It registers with
	// t.Cleanup whatever ends it. Required.
	Open func(t *testing.T, services map[string][]discovery.Instance) discovery.Source
	// Set makes the service have exactly these instances in what the last
	// opened source reads; none leaves it known. Nil if the source never
	// changes: the tests of change are skipped then.
	Set func(t *testing.T, service string, instances ...discovery.Instance)
	// Name returns a service name that nobody else uses. Default: base itself.
	Name func(t *testing.T, base string) string
	// AddressOnly says that the source knows nothing of an instance but where
	// it is: weights, health, tags and meta are not compared.
	AddressOnly bool
	// Patience is how long a change may take to be told. Default 10 s.
	Patience time.Duration
}

// Run runs the suite as subtests of t.
func Run(t *testing.T, h Harness) {
	t.Helper()
	if h.Name == nil {
		h.Name = func(_ *testing.T, base string) string { return base }
	}
	if h.Patience == 0 {
		h.Patience = 10 * time.Second
	}
	for _, c := range []struct {
		name    string
		changes bool
		test    func(*testing.T, Harness)
	}{
		{"first tell is the whole service", false, firstTell},
		{"an unknown service is told as unknown", false, unknown},
		{"instances are sorted and their IDs are unique and stay", false, identity},
		{"many watches", false, manyWatches},
		{"a watch ends with its context", false, cancelled},
		{"an ended context starts nothing", false, endedContext},
		{"an added instance is told", true, added},
		{"a removed instance is told, the others stay who they are", true, removed},
		{"the last instance leaving is told, and the service is still known", true, emptied},
		{"an unknown service appearing is told", true, appeared},
		{"a change of weight or health is told", true, changed},
		{"what has not changed is not told", true, unchanged},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.changes && h.Set == nil {
				t.Skip("this source never changes")
			}
			before := goleak.IgnoreCurrent()
			if t.Run("run", func(t *testing.T) { c.test(t, h) }) {
				goleak.VerifyNone(t, before)
			}
		})
	}
}

// Instance returns a passing instance with an ID, for the suite's users too.
func Instance(id, addr string) discovery.Instance {
	return discovery.Instance{
		ID: id, Address: addr, Weight: 3,
		Tags: []string{"v1"}, Meta: map[string]string{"version": "v1"},
	}
}

var (
	one   = Instance("a", "127.0.0.1:10001")
	two   = Instance("b", "127.0.0.1:10002")
	three = Instance("c", "127.0.0.1:10003")
)

func firstTell(t *testing.T, h Harness) {
	name := h.Name(t, "web")
	w := h.watch(t, h.open(t, name, one, two), name)
	w.want(one, two)
}

func unknown(t *testing.T, h Harness) {
	src := h.open(t, h.Name(t, "web"), one)
	w := h.watch(t, src, h.Name(t, "nobody"))
	if s := w.next(); !s.Unknown || len(s.Instances) > 0 {
		t.Errorf("got %+v, want an unknown service", s)
	}
}

func identity(t *testing.T, h Harness) {
	name := h.Name(t, "web")
	w := h.watch(t, h.open(t, name, three, one, two), name)
	s := w.want(one, two, three)
	ids := make([]string, 0, len(s.Instances))
	for _, inst := range s.Instances {
		ids = append(ids, inst.ID)
		if err := inst.Validate(); err != nil {
			t.Errorf("told an invalid instance: %v", err)
		}
	}
	if !slices.IsSorted(ids) || len(slices.Compact(slices.Clone(ids))) != len(ids) {
		t.Errorf("IDs %q: want sorted and unique", ids)
	}
	again := h.watch(t, w.src, name).next()
	if !again.Equal(s) {
		t.Errorf("a second watch was told\n%+v, the first\n%+v", again, s)
	}
}

func manyWatches(t *testing.T, h Harness) {
	name, other := h.Name(t, "web"), h.Name(t, "api")
	src := h.Open(t, map[string][]discovery.Instance{name: {one, two}, other: {three}})
	var webs, apis []*watching
	for range 10 {
		webs = append(webs, h.watch(t, src, name))
		apis = append(apis, h.watch(t, src, other))
	}
	for i := range webs {
		webs[i].want(one, two)
		apis[i].want(three)
	}
	for _, w := range webs[1:] {
		w.stop()
	}
	if h.Set != nil {
		h.Set(t, name, one)
		webs[0].want(one) // not disturbed by those who left
	}
}

func cancelled(t *testing.T, h Harness) {
	name := h.Name(t, "web")
	w := h.watch(t, h.open(t, name, one), name)
	w.want(one)
	start := time.Now()
	w.stop()
	if took := time.Since(start); took > time.Second {
		t.Errorf("Watch took %v to end", took)
	}
}

func endedContext(t *testing.T, h Harness) {
	name := h.Name(t, "web")
	src := h.open(t, name, one)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := src.Watch(ctx, name, func(u discovery.Update) { t.Errorf("told %+v after the end", u) })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want the context's error", err)
	}
}

func added(t *testing.T, h Harness) {
	name := h.Name(t, "web")
	w := h.watch(t, h.open(t, name, one), name)
	first := w.want(one)
	h.Set(t, name, one, two)
	w.kept(first, w.want(one, two))
}

func removed(t *testing.T, h Harness) {
	name := h.Name(t, "web")
	w := h.watch(t, h.open(t, name, one, two, three), name)
	first := w.want(one, two, three)
	h.Set(t, name, one, three)
	w.kept(first, w.want(one, three))
}

func emptied(t *testing.T, h Harness) {
	name := h.Name(t, "web")
	w := h.watch(t, h.open(t, name, one), name)
	w.want(one)
	h.Set(t, name)
	if s := w.want(); s.Unknown {
		t.Error("a service whose last instance left is told as unknown")
	}
	h.Set(t, name, two)
	w.want(two)
}

func appeared(t *testing.T, h Harness) {
	name := h.Name(t, "later")
	w := h.watch(t, h.open(t, h.Name(t, "web"), one), name)
	if s := w.next(); !s.Unknown {
		t.Errorf("got %+v, want an unknown service", s)
	}
	h.Set(t, name, one)
	if s := w.want(one); s.Unknown {
		t.Error("a service with an instance is told as unknown")
	}
}

func changed(t *testing.T, h Harness) {
	name := h.Name(t, "web")
	w := h.watch(t, h.open(t, name, one, two), name)
	first := w.want(one, two)
	heavy := one
	heavy.Weight = 7
	h.Set(t, name, heavy, two)
	w.kept(first, w.want(heavy, two))
	for _, health := range []discovery.Health{discovery.Critical, discovery.Passing} {
		heavy.Health = health
		h.Set(t, name, heavy, two)
		w.kept(first, w.want(heavy, two))
	}
}

func unchanged(t *testing.T, h Harness) {
	name := h.Name(t, "web")
	w := h.watch(t, h.open(t, name, one, two), name)
	last := w.want(one, two)
	h.Set(t, name, one, two)
	h.Set(t, name, two, one)
	h.Set(t, name, one, two, three)
	// Silence cannot be waited for; but nothing may come between.
	for want := []discovery.Instance{one, two, three}; ; {
		s := w.next()
		if s.Equal(last) {
			t.Fatalf("told twice in a row: %+v", s)
		}
		if h.same(s, want) {
			return
		}
		last = s
	}
}

func (h Harness) open(t *testing.T, service string, instances ...discovery.Instance) discovery.Source {
	t.Helper()
	return h.Open(t, map[string][]discovery.Instance{service: instances})
}

// same compares what every source can know; IDs are the source's own choice.
func (h Harness) same(s discovery.Snapshot, want []discovery.Instance) bool {
	byAddress := func(a, b discovery.Instance) int { return strings.Compare(a.Address, b.Address) }
	got := slices.SortedFunc(slices.Values(s.Instances), byAddress)
	want = slices.SortedFunc(slices.Values(want), byAddress)
	return slices.EqualFunc(got, want, func(g, w discovery.Instance) bool {
		if h.AddressOnly {
			return g.Address == w.Address
		}
		return g.Address == w.Address && max(g.Weight, 1) == max(w.Weight, 1) && g.Health == w.Health &&
			slices.Equal(g.Tags, w.Tags) && maps.Equal(g.Meta, w.Meta)
	})
}
