package saga_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/innermesh/innermesh/idempotency"
	"github.com/innermesh/innermesh/saga"
)

// order is the state of the sagas of these tests.
type order struct {
	Item   string   `json:"item"`
	Trail  []string `json:"trail,omitzero"`
	A      string   `json:"a,omitzero"`
	B      string   `json:"b,omitzero"`
	Shared string   `json:"shared,omitzero"`
}

var errTrial = errors.New("no luck")

type definition = saga.Definition[order]

type step = saga.Step[order]

// diary notes what steps do.
type diary struct {
	mu    sync.Mutex
	lines []string
	keys  map[string]map[string]bool
}

func (d *diary) note(ctx context.Context) saga.Doing {
	x, ok := saga.From(ctx)
	if !ok || idempotency.KeyFrom(ctx) != x.Key {
		panic("a step is not told its key")
	}
	name := x.Step
	if x.Undo {
		name = "-" + name
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lines = append(d.lines, name)
	if d.keys == nil {
		d.keys = map[string]map[string]bool{}
	}
	if d.keys[name] == nil {
		d.keys[name] = map[string]bool{}
	}
	d.keys[name][x.Key] = true
	return x
}

func (d *diary) String() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return strings.Join(d.lines, " ")
}

// does returns a step's function that fails the first times with the errors given.
func (d *diary) does(errs ...error) func(context.Context, *order) error {
	var n atomic.Int32
	return func(ctx context.Context, o *order) error {
		x := d.note(ctx)
		o.Trail = append(o.Trail, x.Step)
		if i := int(n.Add(1)) - 1; i < len(errs) {
			return errs[i]
		}
		return nil
	}
}

// always returns a step's function that always fails.
func (d *diary) always(err error) func(context.Context, *order) error {
	return func(ctx context.Context, _ *order) error {
		d.note(ctx)
		return err
	}
}

func (d *diary) step(name string) step { return step{Name: name, Do: d.does(), Undo: d.does()} }

// quiet drops what is logged.
var quiet = slog.New(slog.DiscardHandler)

// begin opens a coordinator, which ends with the test.
func begin(t *testing.T, o saga.Options) *saga.Coordinator {
	t.Helper()
	if o.Log == nil {
		o.Log = new(saga.Memory)
	}
	if o.Logger == nil {
		o.Logger = quiet
	}
	c, err := saga.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return c
}

func start(t *testing.T, c *saga.Coordinator, d *definition, id string) {
	t.Helper()
	if err := saga.Start(t.Context(), c, d, id, order{Item: "lamp"}); err != nil {
		t.Fatal(err)
	}
}

func wait(t *testing.T, c *saga.Coordinator, id string, want saga.Status) saga.Info {
	t.Helper()
	i, err := c.Wait(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	if i.Status != want {
		t.Fatalf("saga %s is %s (%s), want %s", id, i.Status, i.Error, want)
	}
	return i
}

// run carries one saga out and returns it.
func run(t *testing.T, d *definition, want saga.Status) saga.Info {
	t.Helper()
	c := begin(t, saga.Options{Definitions: []saga.Runnable{d}})
	start(t, c, d, "one")
	return wait(t, c, "one", want)
}

func same(t *testing.T, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %q, want %q", what, got, want)
	}
}

func TestCompletes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d diary
		flaky := d.step("charge")
		flaky.Do = d.does(errTrial, errTrial)
		def := &definition{Name: "order", Steps: []step{d.step("reserve"), flaky, d.step("ship")}}
		i := run(t, def, saga.Completed)
		same(t, "did", d.String(), "reserve charge charge charge ship")
		o, err := def.State(i.Record)
		if err != nil || !slices.Equal(o.Trail, []string{"reserve", "charge", "ship"}) {
			t.Errorf("state %+v, %v: an attempt that failed must leave nothing behind", o, err)
		}
		all := map[string]bool{}
		for name, keys := range d.keys {
			if len(keys) != 1 {
				t.Errorf("%s had %d keys", name, len(keys))
			}
			for k := range keys {
				all[k] = true
			}
		}
		if len(all) != 3 {
			t.Errorf("%d keys for 3 steps", len(all))
		}
		if i.Key != "" {
			t.Error("the key is shown")
		}
		if st := i.Steps[1]; st.Attempts != 3 || st.Status != saga.Done || st.Error != "" {
			t.Errorf("step: %+v", st)
		}
	})
}

func TestStartsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d diary
		def := &definition{Name: "order", Steps: []step{d.step("reserve")}}
		other := &definition{Name: "trip", Steps: []step{d.step("fly")}}
		c := begin(t, saga.Options{Definitions: []saga.Runnable{def, other}})
		for range 3 {
			start(t, c, def, "one")
			wait(t, c, "one", saga.Completed)
		}
		same(t, "did", d.String(), "reserve")
		if err := saga.Start(t.Context(), c, def, "one", order{Item: "chair"}); !errors.Is(err, saga.ErrDifferent) {
			t.Errorf("another state: %v", err)
		}
		if err := saga.Start(t.Context(), c, other, "one", order{Item: "lamp"}); !errors.Is(err, saga.ErrDifferent) {
			t.Errorf("another definition: %v", err)
		}
		if err := saga.Start(t.Context(), c, &definition{Name: "order"}, "two", order{}); !errors.Is(err, saga.ErrUnknown) {
			t.Errorf("a definition that is not registered: %v", err)
		}
		for _, id := range []string{"", "with space", strings.Repeat("x", 201)} {
			if err := saga.Start(t.Context(), c, def, id, order{}); err == nil {
				t.Errorf("started %q", id)
			}
		}
		if err := saga.Start(t.Context(), c, &saga.Definition[chan int]{}, "chan", nil); err == nil {
			t.Error("started with a state that is no JSON")
		}
		if _, err := c.Wait(t.Context(), "none"); !errors.Is(err, saga.ErrNotFound) {
			t.Errorf("wait for none: %v", err)
		}
	})
}

func TestCompensates(t *testing.T) {
	for name, c := range map[string]struct {
		last      func(*diary) step
		did, says string
	}{
		"a failure of unknown effect is undone too": {
			func(d *diary) step {
				return step{Name: "ship", Do: d.always(saga.Permanent(errTrial)), Undo: d.does()}
			}, "reserve charge ship -ship -charge -reserve", "ship: no luck",
		},
		"no effect, nothing to undo": {
			func(d *diary) step {
				return step{Name: "ship", Do: d.always(saga.NoEffect(errTrial)), Undo: d.does()}
			}, "reserve charge ship -charge -reserve", "ship: no luck",
		},
		"one attempt of unknown effect is enough": {
			func(d *diary) step {
				return step{Name: "ship", Do: d.does(errTrial, saga.NoEffect(errTrial)), Undo: d.does()}
			}, "reserve charge ship ship -ship -charge -reserve", "ship: no luck",
		},
		"attempts are bounded": {
			func(d *diary) step {
				return step{Name: "ship", Do: d.always(errTrial), Retry: saga.Retry{Attempts: 2}}
			}, "reserve charge ship ship -charge -reserve", "ship: no luck",
		},
		"final by the step's own judgement": {
			func(d *diary) step {
				return step{Name: "ship", Do: d.always(errTrial), Retry: saga.Retry{Final: func(err error) bool { return errors.Is(err, errTrial) }}}
			}, "reserve charge ship -charge -reserve", "ship: no luck",
		},
		"the pivot itself": {
			func(d *diary) step { return step{Name: "ship", Do: d.always(saga.NoEffect(errTrial)), Pivot: true} },
			"reserve charge ship -charge -reserve", "ship: no luck",
		},
		"a panic is a failure": {
			func(d *diary) step {
				return step{Name: "ship", Retry: saga.Retry{Attempts: 1}, Do: func(context.Context, *order) error { panic("oops") }}
			}, "reserve charge -charge -reserve", "ship: the step has panicked: oops",
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var d diary
				charge := d.step("charge")
				charge.Undo = d.does(errTrial, errTrial)
				c.did = strings.Replace(c.did, "-charge", "-charge -charge -charge", 1)
				i := run(t, &definition{Name: "order", Steps: []step{d.step("reserve"), charge, c.last(&d)}}, saga.Compensated)
				same(t, "did", d.String(), c.did)
				same(t, "error", i.Error, c.says)
				for _, st := range i.Steps {
					if st.Status != saga.Undone {
						t.Errorf("step %s is %s", st.Name, st.Status)
					}
				}
			})
		})
	}
}

func TestGoesOnlyForwardAfterThePivot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d diary
		fails := slices.Repeat([]error{errTrial}, 30)
		def := &definition{Name: "order", Timeout: time.Second, Steps: []step{
			d.step("reserve"), {Name: "charge", Do: d.does(fails...), Pivot: true}, {Name: "ship", Do: d.does(fails...)},
		}}
		before := time.Now()
		i := run(t, def, saga.Completed)
		same(t, "did", d.String(), "reserve"+strings.Repeat(" charge", 31)+strings.Repeat(" ship", 31))
		if took := time.Since(before); took < 10*time.Minute || took > time.Hour {
			t.Errorf("60 failures took %v", took)
		}
		if i.Token < 2 {
			t.Error("a saga that rests long must be set free")
		}
	})
}

func TestTimeouts(t *testing.T) {
	hang := func(d *diary) func(context.Context, *order) error {
		return func(ctx context.Context, _ *order) error {
			d.note(ctx)
			<-ctx.Done()
			return ctx.Err()
		}
	}
	t.Run("of a step", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var d diary
			before := time.Now()
			s := step{Name: "a", Do: hang(&d), Undo: d.does(), Timeout: time.Minute, Retry: saga.Retry{Attempts: 3}}
			i := run(t, &definition{Name: "order", Steps: []step{s}}, saga.Compensated)
			same(t, "did", d.String(), "a a a -a")
			same(t, "error", i.Error, "a: context deadline exceeded")
			if took := time.Since(before); took < 3*time.Minute || took > 3*time.Minute+time.Second {
				t.Errorf("took %v", took)
			}
		})
	})
	t.Run("of a saga", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var d diary
			before := time.Now()
			s := step{Name: "b", Do: hang(&d), Undo: d.does(), Timeout: -1, Retry: saga.Retry{Attempts: -1}}
			i := run(t, &definition{Name: "order", Timeout: time.Minute, Steps: []step{d.step("a"), s}}, saga.Compensated)
			same(t, "did", d.String(), "a b -b -a")
			same(t, "error", i.Error, "it had not passed its pivot or end within 1m0s")
			if took := time.Since(before); took < time.Minute || took > time.Minute+time.Second {
				t.Errorf("took %v", took)
			}
		})
	})
	t.Run("of a saga that rests", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var d diary
			before := time.Now()
			s := step{Name: "b", Do: d.always(errTrial), Retry: saga.Retry{Base: time.Hour}}
			run(t, &definition{Name: "order", Timeout: time.Minute, Steps: []step{d.step("a"), s}}, saga.Compensated)
			same(t, "did", d.String(), "a b -a")
			if took := time.Since(before); took < time.Minute || took > time.Minute+2*time.Second {
				t.Errorf("took %v", took)
			}
		})
	})
}

func TestTogether(t *testing.T) {
	set := func(d *diary, field string, after time.Duration) func(context.Context, *order) error {
		return func(ctx context.Context, o *order) error {
			<-time.After(after)
			d.note(ctx)
			if field == "a" {
				o.A = "by a"
			} else {
				o.B = "by b"
			}
			return nil
		}
	}
	t.Run("at the same time, each with its fields", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var d diary
			before := time.Now()
			def := &definition{Name: "order", Steps: []step{{Together: []step{
				{Name: "a", Do: set(&d, "a", 3*time.Second)}, {Name: "b", Do: set(&d, "b", 2*time.Second)},
			}}, d.step("c")}}
			i := run(t, def, saga.Completed)
			o, err := def.State(i.Record)
			if err != nil || o.A != "by a" || o.B != "by b" || o.Item != "lamp" {
				t.Errorf("%+v, %v", o, err)
			}
			same(t, "did", d.String(), "b a c")
			if took := time.Since(before); took != 3*time.Second {
				t.Errorf("took %v", took)
			}
		})
	})
	t.Run("one fails, all are undone", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var d diary
			b := step{Name: "b", Undo: d.does(), Do: func(ctx context.Context, _ *order) error {
				time.Sleep(100 * time.Millisecond)
				d.note(ctx)
				return saga.NoEffect(errTrial)
			}}
			slow := step{Name: "s", Do: set(&d, "a", time.Second), Undo: d.does()}
			again := step{Name: "r", Do: d.always(errTrial), Undo: d.does(), Retry: saga.Retry{Base: 500 * time.Millisecond}}
			i := run(t, &definition{Name: "order", Steps: []step{d.step("first"), {Together: []step{slow, b, again}}}}, saga.Compensated)
			same(t, "error", i.Error, "b: no luck")
			got := strings.Fields(d.String())
			slices.Sort(got[len(got)-3 : len(got)-1])
			same(t, "did", strings.Join(got, " "), "first r b s -r -s -first")
		})
	})
	t.Run("two that change the same field", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var d diary
			var seen sync.Map
			share := func(value string) step {
				return step{Name: value, Do: func(ctx context.Context, o *order) error {
					d.note(ctx)
					o.Shared = value
					return nil
				}, Undo: func(_ context.Context, o *order) error {
					seen.Store(value, o.Shared)
					return nil
				}}
			}
			i := run(t, &definition{Name: "order", Steps: []step{{Together: []step{share("x"), share("y")}}}}, saga.Compensated)
			if !strings.Contains(i.Error, saga.ErrConflict.Error()) {
				t.Errorf("error %q", i.Error)
			}
			for _, value := range []string{"x", "y"} {
				if got, _ := seen.Load(value); got != value {
					t.Errorf("the undoing of %s sees %v: it must see what its Do has made", value, got)
				}
			}
		})
	})
	t.Run("a state that has no fields", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			nop := func(context.Context, *int) error { return nil }
			def := &saga.Definition[int]{Name: "n", Steps: []saga.Step[int]{{Together: []saga.Step[int]{{Name: "a", Do: nop}, {Name: "b", Do: nop}}}}}
			c := begin(t, saga.Options{Definitions: []saga.Runnable{def}})
			if err := saga.Start(t.Context(), c, def, "one", 7); err == nil || !strings.Contains(err.Error(), "must be a JSON object") {
				t.Errorf("started: %v", err)
			}
		})
	})
}

func TestBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var now, most atomic.Int32
		def := &definition{Name: "order", Steps: []step{{Name: "a", Do: func(context.Context, *order) error {
			n := now.Add(1)
			defer now.Add(-1)
			for {
				m := most.Load()
				if n <= m || most.CompareAndSwap(m, n) {
					break
				}
			}
			time.Sleep(time.Second)
			return nil
		}}}}
		c := begin(t, saga.Options{Definitions: []saga.Runnable{def}, MaxRunning: 3, Poll: time.Hour})
		before := time.Now()
		for i := range 10 {
			start(t, c, def, fmt.Sprint(i))
		}
		for i := range 10 {
			wait(t, c, fmt.Sprint(i), saga.Completed)
		}
		if most.Load() != 3 || time.Since(before) > 5*time.Second {
			t.Errorf("%d at a time, in %v; want 3, in 4 s", most.Load(), time.Since(before))
		}
	})
}

func TestForgets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d diary
		def := &definition{Name: "order", Steps: []step{d.step("a")}}
		c := begin(t, saga.Options{Definitions: []saga.Runnable{def}, Keep: time.Hour})
		start(t, c, def, "one")
		wait(t, c, "one", saga.Completed)
		time.Sleep(59 * time.Minute)
		if _, err := c.Get(t.Context(), "one"); err != nil {
			t.Error(err)
		}
		time.Sleep(3 * time.Minute)
		if _, err := c.Get(t.Context(), "one"); !errors.Is(err, saga.ErrNotFound) {
			t.Errorf("got %v", err)
		}
	})
}

func TestLists(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d diary
		def := &definition{Name: "order", Steps: []step{d.step("a")}}
		c := begin(t, saga.Options{Definitions: []saga.Runnable{def}})
		for i := range 5 {
			start(t, c, def, fmt.Sprint(i))
			wait(t, c, fmt.Sprint(i), saga.Completed)
		}
		got, next, err := c.List(t.Context(), saga.Query{Statuses: []saga.Status{saga.Completed}, Limit: 3})
		if err != nil || len(got) != 3 || next != "2" {
			t.Fatalf("%d, next %q, %v", len(got), next, err)
		}
		if got[0].State != nil || got[0].Key != "" {
			t.Error("a list shows states or keys")
		}
		if text := fmt.Sprintf("%v %+v", got[0], got[0].Record); strings.Contains(text, "lamp") {
			t.Error("printing shows the state")
		}
	})
}

func TestSaysWhatIsWrong(t *testing.T) {
	nop := func(context.Context, *order) error { return nil }
	bad := &definition{Name: "with space", Version: -1, Timeout: -1, Steps: []step{
		{Name: "a", Do: nop, Pivot: true},
		{Name: "a", Undo: nop, Retry: saga.Retry{Base: -1}},
		{Name: "group", Together: []step{{Name: "b", Do: nop, Pivot: true}}},
	}}
	_, err := saga.New(saga.Options{
		MaxRunning: -1, Lease: 1, Poll: -1,
		Definitions: []saga.Runnable{nil, bad, &definition{Name: "empty"}, &definition{Name: "empty", Version: 1}},
	})
	for _, want := range []string{
		"Log is nil", "MaxRunning", "Lease", "Poll", "Definitions[0] is nil", "Definitions[1] (with space): Name", "Version is -1", "Timeout",
		`Steps[1].Name is "a", as another`, "Steps[1].Do is nil", "Steps[1].Undo is set", "Steps[1].Retry", "Steps[2] is a group",
		"Steps[2].Together has 1", "Steps[2].Together[0].Pivot is set in a group", "Steps is empty", "Definitions[3] is empty version 1, as another one",
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("nothing says %q in:\n%v", want, err)
		}
	}
}
