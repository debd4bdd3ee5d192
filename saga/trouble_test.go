package saga_test

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/innermesh/innermesh/deadletter"
	"github.com/innermesh/innermesh/idempotency"
	"github.com/innermesh/innermesh/saga"
)

// faulty is a log that can be cut off.
type faulty struct {
	saga.Log

	cut    atomic.Bool
	saves  atomic.Int32
	leased atomic.Int32  // saves that keep the lease
	slow   time.Duration // what a claim takes
}

var errCut = errors.New("the log can not be reached")

func (f *faulty) Save(ctx context.Context, r saga.Record, lease time.Duration) error {
	if f.cut.Load() {
		return errCut
	}
	f.saves.Add(1)
	if lease > 0 {
		f.leased.Add(1)
	}
	return f.Log.Save(ctx, r, lease)
}

func (f *faulty) Claim(ctx context.Context, c saga.Claim) ([]saga.Record, error) {
	if f.cut.Load() {
		return nil, errCut
	}
	got, err := f.Log.Claim(ctx, c)
	if f.slow > 0 {
		<-time.After(f.slow)
	}
	return got, err
}

// mortal is the log of a program that dies at a write, before or after that was
// stored: from then on it reads nothing and, so that nothing is tried again, is told
// that all is somebody else's.
type mortal struct {
	saga.Log

	stored bool
	writes atomic.Int32 // that are left
}

func (m *mortal) write(store func() error) error {
	switch left := m.writes.Add(-1); {
	case left > 0:
		return store()
	case left == 0 && m.stored:
		return cmp.Or(store(), saga.ErrFenced)
	default:
		return saga.ErrFenced
	}
}

func (m *mortal) Create(ctx context.Context, r saga.Record, lease time.Duration) error {
	return m.write(func() error { return m.Log.Create(ctx, r, lease) })
}

func (m *mortal) Save(ctx context.Context, r saga.Record, lease time.Duration) error {
	return m.write(func() error { return m.Log.Save(ctx, r, lease) })
}

func (m *mortal) Claim(ctx context.Context, c saga.Claim) ([]saga.Record, error) {
	if m.writes.Load() <= 0 {
		return nil, errCut
	}
	return m.Log.Claim(ctx, c)
}

// Whichever write of its log a program dies at, another one brings the saga to one
// of its two ends, with each effect once or not at all.
func TestDeathAtEachWrite(t *testing.T) {
	for end, last := range map[saga.Status]error{saga.Completed: nil, saga.Compensated: saga.Permanent(errTrial)} {
		for _, stored := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, stored %t", end, stored), func(t *testing.T) {
				n := int32(1)
				for dieAt(t, n, stored, last, end) && !t.Failed() {
					n++
				}
				if n < 8 {
					t.Errorf("only %d writes", n-1)
				}
			})
		}
	}
}

// dieAt has a program die at the nth write, and says whether there was one.
func dieAt(t *testing.T, n int32, stored bool, last error, end saga.Status) (died bool) {
	synctest.Test(t, func(t *testing.T) {
		var d diary
		var mu sync.Mutex
		seen, there := map[string]bool{}, map[string]int{} // by keys, and by those of Do
		act := func(ctx context.Context, _ *order) error {
			x := d.note(ctx)
			mu.Lock()
			defer mu.Unlock()
			if seen[x.Key] {
				return nil
			}
			seen[x.Key] = true
			if x.Undo {
				there[x.DoKey]--
			} else {
				there[x.DoKey]++
			}
			return nil
		}
		step := func(name string) step { return step{Name: name, Do: act, Undo: act} }
		pivot := saga.Step[order]{Name: "pivot", Pivot: true, Do: act}
		if last != nil {
			pivot.Do = d.always(last)
		}
		flaky := step("flaky")
		var tries atomic.Int32
		flaky.Do = func(ctx context.Context, o *order) error {
			if err := act(ctx, o); err != nil || tries.Add(1) > 1 {
				return err
			}
			return errTrial // with its effect, as a call whose answer is lost
		}
		def := &definition{Name: "order", Steps: []saga.Step[order]{
			step("first"), flaky, {Together: []saga.Step[order]{step("left"), step("right")}}, pivot, {Name: "after", Do: act},
		}}
		memory := new(saga.Memory)
		log := &mortal{Log: memory, stored: stored}
		log.writes.Store(n)
		a := begin(t, saga.Options{Log: log, Definitions: []saga.Runnable{def}})
		if err := saga.Start(t.Context(), a, def, "one", order{Item: "lamp"}); err == nil {
			for log.writes.Load() > 0 {
				if i, err := a.Get(t.Context(), "one"); err != nil || i.Status.Ended() {
					break
				}
				time.Sleep(10 * time.Millisecond)
			}
		}
		died = log.writes.Load() <= 0
		b := begin(t, saga.Options{Log: memory, Definitions: []saga.Runnable{def}})
		start(t, b, def, "one") // again, to be sure
		wait(t, b, "one", end)
		want := 0
		if end == saga.Completed {
			want = 1
		}
		for key, n := range there {
			if n != want {
				t.Errorf("the effect of %s is there %d times, want %d; did %s", key, n, want, &d)
			}
		}
		for name, keys := range d.keys {
			if len(keys) != 1 {
				t.Errorf("%s came with %d keys", name, len(keys))
			}
		}
		if end == saga.Completed && len(there) != 6 {
			t.Errorf("%d effects; did %s", len(there), &d)
		}
	})
	return died
}

// logged collects what is logged.
type logged struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logged) count(text string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.buf.String(), text)
}

func (l *logged) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

// One that is cut off from the log stops its steps before another begins, and
// can change nothing afterwards.
func TestOneOwner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d diary
		var tokens sync.Map
		var now atomic.Int32
		slow := step{Name: "slow", Timeout: -1, Do: func(ctx context.Context, _ *order) error {
			x := d.note(ctx)
			tokens.Store(x.Token, true)
			if now.Add(1) > 1 {
				t.Error("two owners carry out the step")
			}
			defer now.Add(-1)
			if x.Token > 1 {
				return nil
			}
			<-ctx.Done()
			return ctx.Err()
		}}
		def := &definition{Name: "order", Steps: []step{slow}}
		memory := new(saga.Memory)
		bad := &faulty{Log: memory}
		a := begin(t, saga.Options{Log: bad, Definitions: []saga.Runnable{def}})
		synctest.Wait() // its first claim takes all places for a moment
		start(t, a, def, "one")
		b := begin(t, saga.Options{Log: memory, Definitions: []saga.Runnable{def}})
		time.Sleep(10 * time.Minute) // renewals keep it
		if i, err := b.Get(t.Context(), "one"); err != nil || i.Token != 1 || bad.leased.Load() < 60 {
			t.Fatalf("token %d after %d renewals, %v", i.Token, bad.leased.Load(), err)
		}
		bad.cut.Store(true)
		before := time.Now()
		i := wait(t, b, "one", saga.Completed)
		if took := time.Since(before); took > 32*time.Second || i.Token != 2 {
			t.Errorf("taken over after %v with token %d", took, i.Token)
		}
		bad.cut.Store(false)
		time.Sleep(time.Minute)
		wait(t, a, "one", saga.Completed)
		same(t, "did", d.String(), "slow slow")
	})
}

// One that has lost a saga and gets it back waits until its own former attempt
// has ended.
func TestOneOwnerAfterAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &faulty{Log: new(saga.Memory)}
		var now, calls atomic.Int32
		def := &definition{Name: "order", Steps: []step{{Name: "deaf", Timeout: -1, Do: func(context.Context, *order) error {
			if now.Add(1) > 1 {
				t.Error("the step is carried out twice at the same time")
			}
			defer now.Add(-1)
			calls.Add(1)
			time.Sleep(2 * time.Minute) // whatever its context says
			return nil
		}}}}
		c := begin(t, saga.Options{Log: log, Definitions: []saga.Runnable{def}})
		start(t, c, def, "one")
		synctest.Wait()
		log.cut.Store(true)
		time.Sleep(40 * time.Second) // longer than its lease
		log.cut.Store(false)
		wait(t, c, "one", saga.Completed)
		if calls.Load() != 2 {
			t.Errorf("it was carried out %d times, want 2", calls.Load())
		}
	})
}

// Who starts a saga while all places are kept for a claim does not wait for the
// next one.
func TestStartDuringAClaim(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d diary
		def := &definition{Name: "order", Steps: []step{d.step("a")}}
		log := &faulty{Log: new(saga.Memory), slow: time.Second}
		c := begin(t, saga.Options{Log: log, Definitions: []saga.Runnable{def}, Poll: time.Hour})
		time.Sleep(500 * time.Millisecond)
		before := time.Now()
		start(t, c, def, "one")
		wait(t, c, "one", saga.Completed)
		if took := time.Since(before); took > 2*time.Second {
			t.Errorf("took %v", took)
		}
	})
}

// A log that fails for less than a lease is no reason to stop, and is told once.
func TestLogFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d diary
		log := &faulty{Log: new(saga.Memory)}
		var out logged
		def := &definition{Name: "order", Steps: []step{d.step("a"), {Name: "b", Do: func(ctx context.Context, _ *order) error {
			d.note(ctx)
			log.cut.Store(true)
			time.AfterFunc(20*time.Second, func() { log.cut.Store(false) })
			return nil
		}}, d.step("c")}}
		c := begin(t, saga.Options{Log: log, Definitions: []saga.Runnable{def}, Logger: out.logger()})
		synctest.Wait() // its first claim takes all places for a moment
		start(t, c, def, "one")
		i := wait(t, c, "one", saga.Completed)
		same(t, "did", d.String(), "a b c")
		if i.Token != 1 {
			t.Errorf("token %d: it had one owner", i.Token)
		}
		time.Sleep(time.Minute)
		for text, want := range map[string]int{"does not work\" doing=save": 1, "works again\" doing=save": 1, "doing=claim": 2} {
			if n := out.count(text); n != want {
				t.Errorf("%q was logged %d times, want %d:\n%s", text, n, want, out.buf.String())
			}
		}
	})
}

func TestStuck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d diary
		var broken atomic.Bool
		broken.Store(true)
		def := &definition{Name: "order", Steps: []step{
			{Name: "a", Do: d.does(), Undo: func(ctx context.Context, _ *order) error {
				d.note(ctx)
				if broken.Load() {
					return saga.Permanent(errTrial)
				}
				return nil
			}},
			{Name: "b", Do: d.always(saga.NoEffect(errTrial))},
		}}
		var out logged
		letters := new(deadletter.Memory)
		c := begin(t, saga.Options{Definitions: []saga.Runnable{def}, Letters: letters, Logger: out.logger()})
		start(t, c, def, "one")
		i := wait(t, c, "one", saga.Stuck)
		same(t, "error", i.Error, "it can not go back: a: no luck")
		page, err := letters.List(t.Context(), deadletter.Query{})
		if err != nil || len(page.Letters) != 1 || out.count("a saga is stuck") != 1 {
			t.Fatalf("%d letters, %v; logged:\n%s", len(page.Letters), err, out.buf.String())
		}
		l := page.Letters[0]
		if l.Labels[saga.SagaLabel] != "one" || l.Labels[saga.StepLabel] != "a" || l.Service != "order" || l.State != deadletter.Parked ||
			!strings.Contains(string(l.Body), "lamp") {
			t.Errorf("letter %v, labels %v, body %s", l, l.Labels, l.Body)
		}

		if err := c.Send(t.Context(), l); err != nil { // as a redriver does: in vain
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if i := wait(t, c, "one", saga.Stuck); i.Record.Stuck != 2 {
			t.Errorf("it was stuck %d times", i.Record.Stuck)
		}
		if n, _ := deadletter.Count(t.Context(), letters, deadletter.Filter{}); n.Letters[deadletter.Parked] != 2 {
			t.Errorf("letters: %v", n.Letters)
		}
		broken.Store(false)
		if err := c.Retry(t.Context(), "one"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		wait(t, c, "one", saga.Compensated)
		same(t, "did", d.String(), "a b -a -a -a")
		if len(d.keys["-a"]) != 1 {
			t.Error("the key has changed")
		}
		if err := c.Retry(t.Context(), "one"); !errors.Is(err, saga.ErrNotStuck) {
			t.Errorf("retry: %v", err)
		}
		if err := c.Send(t.Context(), l); err != nil {
			t.Errorf("a letter of what is not stuck any more: %v", err)
		}
		if err := c.Send(t.Context(), deadletter.Letter{ID: "x", Protocol: "http"}); !errors.Is(err, deadletter.ErrPoison) {
			t.Errorf("a letter of something else: %v", err)
		}
		if err := c.Retry(t.Context(), "none"); !errors.Is(err, saga.ErrNotFound) {
			t.Errorf("retry: %v", err)
		}
	})
}

func TestStuckForward(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d diary
		def := &definition{Name: "order", Steps: []step{
			{Name: "pay", Do: d.does(), Pivot: true},
			{Together: []step{{Name: "ship", Do: once(saga.Permanent(errTrial))}, {Name: "mail", Do: once(errTrial)}}},
		}}
		c := begin(t, saga.Options{Definitions: []saga.Runnable{def}, Letters: full{}})
		start(t, c, def, "one")
		i := wait(t, c, "one", saga.Stuck)
		same(t, "error", i.Error, "it can not go forward: ship: no luck")
		if i.Steps[2].Status == saga.Pending {
			t.Error("the other step of the group was not tried")
		}
		def.Steps[1].Together[0].Do = nil // the coordinator has a copy
		if err := c.Retry(t.Context(), "one"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		wait(t, c, "one", saga.Completed)
	})
}

func TestResolve(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		def := &definition{Name: "order", Steps: []step{
			{Name: "pay", Do: once(nil), Pivot: true}, {Name: "ship", Do: once(saga.Permanent(errTrial))},
		}}
		c := begin(t, saga.Options{Definitions: []saga.Runnable{def}})
		start(t, c, def, "one")
		wait(t, c, "one", saga.Stuck)
		if err := c.Resolve(t.Context(), "one", saga.Running, ""); err == nil {
			t.Error("resolved as running")
		}
		if err := c.Resolve(t.Context(), "one", saga.Completed, "shipped by hand"); err != nil {
			t.Fatal(err)
		}
		if i := wait(t, c, "one", saga.Completed); i.Note != "shipped by hand" || i.Ended.IsZero() {
			t.Errorf("resolved: %+v", i)
		}
		if err := c.Resolve(t.Context(), "one", saga.Completed, ""); !errors.Is(err, saga.ErrNotStuck) {
			t.Errorf("resolved again: %v", err)
		}
	})
}

// once returns a step's function that fails the first time.
func once(err error) func(context.Context, *order) error {
	var n atomic.Int32
	return func(context.Context, *order) error {
		if n.Add(1) == 1 {
			return err
		}
		return nil
	}
}

// full takes no letters.
type full struct{}

func (full) Put(context.Context, deadletter.Letter) error { return deadletter.ErrFull }

func TestClose(t *testing.T) {
	hold := func(d *diary, release <-chan struct{}) *definition {
		return &definition{Name: "order", Steps: []step{{Name: "a", Timeout: -1, Retry: saga.Retry{Attempts: 1}, Do: func(ctx context.Context, _ *order) error {
			d.note(ctx)
			select {
			case <-release:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}}, d.step("b")}}
	}
	t.Run("lets attempts end, and hands over", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var d diary
			release := make(chan struct{})
			def := hold(&d, release)
			o := saga.Options{Log: new(saga.Memory), Definitions: []saga.Runnable{def}}
			c := begin(t, o)
			start(t, c, def, "one")
			synctest.Wait()
			time.AfterFunc(time.Minute, func() { close(release) })
			before := time.Now()
			if err := c.Close(t.Context()); err != nil || time.Since(before) != time.Minute {
				t.Errorf("%v, after %v", err, time.Since(before))
			}
			same(t, "did", d.String(), "a")
			if err := saga.Start(t.Context(), c, def, "two", order{}); !errors.Is(err, saga.ErrClosed) {
				t.Errorf("start: %v", err)
			}
			next := begin(t, o)
			before = time.Now()
			if wait(t, next, "one", saga.Completed); time.Since(before) > time.Second {
				t.Errorf("taken over after %v", time.Since(before))
			}
			same(t, "did", d.String(), "a b")
		})
	})
	t.Run("cancels when its time is over, which counts as no failure", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var d diary
			release := make(chan struct{})
			def := hold(&d, release)
			o := saga.Options{Log: new(saga.Memory), Definitions: []saga.Runnable{def}}
			c := begin(t, o)
			start(t, c, def, "one")
			synctest.Wait()
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			before := time.Now()
			if err := c.Close(ctx); err != nil || time.Since(before) != time.Minute {
				t.Errorf("%v, after %v", err, time.Since(before))
			}
			close(release)
			wait(t, begin(t, o), "one", saga.Completed)
			same(t, "did", d.String(), "a a b")
		})
	})
	t.Run("names steps that do not end", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			release := make(chan struct{})
			def := &definition{Name: "order", Steps: []step{{Name: "a", Do: func(context.Context, *order) error { <-release; return nil }}}}
			c := begin(t, saga.Options{Definitions: []saga.Runnable{def}})
			start(t, c, def, "one")
			synctest.Wait()
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			before := time.Now()
			err := c.Close(ctx)
			if err == nil || !strings.Contains(err.Error(), `"one"`) || time.Since(before) != 6*time.Second {
				t.Errorf("%v, after %v", err, time.Since(before))
			}
			close(release)
		})
	})
}

func TestParked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d diary
		log := new(saga.Memory)
		gate := func(ctx context.Context, _ *order) error {
			d.note(ctx)
			<-ctx.Done()
			return ctx.Err()
		}
		sagas := []*definition{
			{Name: "gone", Steps: []step{{Name: "a", Do: gate}}},
			{Name: "changed", Steps: []step{{Name: "a", Do: gate}}},
			{Name: "revised", Steps: []step{{Name: "a", Do: gate}}},
			{Name: "newer", Steps: []step{{Name: "a", Do: gate}}},
		}
		old := begin(t, saga.Options{Log: log, Definitions: []saga.Runnable{sagas[0], sagas[1], sagas[2], sagas[3]}})
		for _, def := range sagas {
			start(t, old, def, def.Name)
		}
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := old.Close(ctx); err != nil {
			t.Fatal(err)
		}

		var out logged
		next := begin(t, saga.Options{Log: log, Logger: out.logger(), Definitions: []saga.Runnable{
			&definition{Name: "changed", Steps: []step{d.step("a"), d.step("b")}},
			&definition{Name: "revised", Steps: []step{{Name: "a", Do: d.does(), Revision: "2"}}},
			&definition{Name: "newer", Version: 2, Steps: []step{d.step("a")}},
		}})
		for id, want := range map[string]string{
			"gone": "no definition named gone", "changed": "raise Version", "revised": "raise Version", "newer": "no version 1 of newer",
		} {
			i := wait(t, next, id, saga.Running)
			if !strings.Contains(i.Parked, want) {
				t.Errorf("%s is parked because %q, want %q", id, i.Parked, want)
			}
		}
		time.Sleep(time.Hour)
		if n := out.count("a saga is parked"); n != 4 {
			t.Errorf("4 parked sagas were told %d times", n)
		}
		if got := strings.Count(d.String(), "a"); got != 4 {
			t.Errorf("steps of parked sagas were carried out: %s", &d)
		}
		if err := next.Resolve(t.Context(), "gone", saga.Compensated, "by hand"); err != nil {
			t.Error(err)
		}
		wait(t, next, "gone", saga.Compensated)
		right := begin(t, saga.Options{Log: log, Definitions: []saga.Runnable{
			&definition{Name: "changed", Steps: []step{d.step("a")}}, // Undo makes it another one
			&definition{Name: "newer", Steps: []step{{Name: "a", Do: d.does()}}},
		}})
		wait(t, right, "newer", saga.Completed)
		if i := wait(t, right, "changed", saga.Running); i.Parked == "" {
			t.Error("an Undo was added, and nobody has noticed")
		}
	})
}

// One that is being carried out can not be resolved.
func TestBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		def := &definition{Name: "order", Steps: []step{{Name: "a", Do: func(context.Context, *order) error { <-release; return nil }}}}
		c := begin(t, saga.Options{Definitions: []saga.Runnable{def}})
		start(t, c, def, "one")
		if err := c.Resolve(t.Context(), "one", saga.Completed, ""); !errors.Is(err, saga.ErrBusy) {
			t.Errorf("resolve: %v", err)
		}
		if err := c.Retry(t.Context(), "one"); !errors.Is(err, saga.ErrBusy) && !errors.Is(err, saga.ErrNotStuck) {
			t.Errorf("retry: %v", err)
		}
		close(release)
		wait(t, c, "one", saga.Completed)
	})
}

// A saga that rests is no less under way than one that is carried out.
func TestResolveOfOneThatRests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d diary
		def := &definition{Name: "order", Steps: []step{{Name: "a", Do: d.does(errTrial), Retry: saga.Retry{Base: time.Minute}}}}
		c := begin(t, saga.Options{Definitions: []saga.Runnable{def}})
		start(t, c, def, "one")
		synctest.Wait()
		before := time.Now()
		if err := c.Resolve(t.Context(), "one", saga.Completed, ""); !errors.Is(err, saga.ErrNotStuck) {
			t.Errorf("resolve: %v", err)
		}
		wait(t, c, "one", saga.Completed)
		if took := time.Since(before); took < 30*time.Second || took > time.Minute+time.Second {
			t.Errorf("took %v", took)
		}
	})
}

func TestTransport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var seen []string
		client := &http.Client{Transport: saga.Transport(roundTripper(func(req *http.Request) (*http.Response, error) {
			seen = append(seen, req.Header.Get(idempotency.Header))
			return &http.Response{StatusCode: http.StatusNoContent, Body: http.NoBody, Request: req}, nil
		}))}
		var want string
		send := func(ctx context.Context, method, key string) {
			req, err := http.NewRequestWithContext(ctx, method, "http://stock/1", nil)
			if err != nil {
				t.Fatal(err)
			}
			if key != "" {
				req.Header.Set(idempotency.Header, key)
			}
			if _, err := client.Do(req); err != nil {
				t.Error(err)
			}
		}
		run(t, &definition{Name: "order", Steps: []step{{Name: "a", Do: func(ctx context.Context, _ *order) error {
			x, _ := saga.From(ctx)
			want = idempotency.FormatKey(x.Key)
			send(ctx, http.MethodPost, "")
			send(ctx, http.MethodDelete, "")
			send(ctx, http.MethodGet, "")
			send(ctx, http.MethodPost, "mine")
			return nil
		}}}}, saga.Completed)
		send(t.Context(), http.MethodPost, "")
		client.CloseIdleConnections()
		same(t, "keys", strings.Join(seen, " "), want+" "+want+"  mine ")
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }
