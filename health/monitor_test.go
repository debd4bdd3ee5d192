package health

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/innermesh/innermesh/discovery"
)

var errDown = errors.New("connection\n refused")

// open returns a monitor that has started, and its log.
func open(t *testing.T, checks ...Check) (*Monitor, *bytes.Buffer) {
	t.Helper()
	log := new(bytes.Buffer)
	m := New(Options{Logger: slog.New(slog.NewTextHandler(log, nil))})
	t.Cleanup(m.Close)
	m.Ready()
	for _, c := range checks {
		if _, err := m.Add(c); err != nil {
			t.Fatal(err)
		}
	}
	return m, log
}

func want(t *testing.T, m *Monitor, health discovery.Health, output string) {
	t.Helper()
	synctest.Wait()
	if h, o := m.Health(); h != health || !strings.Contains(o, output) {
		t.Errorf("%v, %q: want %v, %q", h, o, health, output)
	}
}

func TestNotReadyUntilTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := New(Options{})
		defer m.Close()
		want(t, m, discovery.Critical, "startup: has not started yet")
		changed := m.Changed()
		m.Ready()
		<-changed
		want(t, m, discovery.Passing, "ready")
		m.Hold("leaving", "says good-bye")
		m.Hold("leaving", "is on its way")
		want(t, m, discovery.Critical, "leaving: is on its way")
		m.Release("leaving")
		m.Release("leaving")
		want(t, m, discovery.Passing, "ready")
	})
}

func TestRequiredCheckIsAwaited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, _ := open(t, Check{Name: "db", Func: func(ctx context.Context) error {
			select {
			case <-time.After(time.Second):
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}})
		want(t, m, discovery.Critical, "db: has not been asked yet")
		time.Sleep(time.Second)
		want(t, m, discovery.Passing, "ready")
	})
}

func TestThresholds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var failing atomic.Bool
		m, log := open(t, Check{Name: "db", Interval: 10 * time.Second, Up: 2, Down: 3, Func: func(context.Context) error {
			if failing.Load() {
				return errDown
			}
			return nil
		}})
		want(t, m, discovery.Passing, "") // the first one counts at once
		failing.Store(true)
		for range 2 {
			time.Sleep(10 * time.Second)
			want(t, m, discovery.Passing, "")
		}
		time.Sleep(10 * time.Second)
		want(t, m, discovery.Critical, "db: connection refused")
		failing.Store(false)
		time.Sleep(10 * time.Second)
		want(t, m, discovery.Critical, "not passed often enough")
		time.Sleep(10 * time.Second)
		want(t, m, discovery.Passing, "")
		for _, once := range []string{"a health check fails", "passes again"} {
			if n := strings.Count(log.String(), once); n != 1 {
				t.Errorf("logged %d times: %q\n%s", n, once, log)
			}
		}
	})
}

func TestKinds(t *testing.T) {
	for kind, c := range map[Kind]struct {
		live, ready bool
		health      discovery.Health
	}{
		Required:      {true, false, discovery.Critical},
		Informational: {true, true, discovery.Warning},
		Vital:         {false, false, discovery.Critical},
	} {
		synctest.Test(t, func(t *testing.T) {
			m, _ := open(t, Check{Name: "db", Kind: kind, Func: func(context.Context) error { return errDown }})
			want(t, m, c.health, "db: connection refused")
			if r := m.Report(); r.Live != c.live || r.Ready != c.ready || r.Health != c.health {
				t.Errorf("%v: %+v", kind, r)
			}
			if r := m.Report("db"); !r.Live || !r.Ready || r.Health != discovery.Passing {
				t.Errorf("%v, left out: %+v", kind, r)
			}
		})
	}
}

func TestPanicIsContained(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, _ := open(t,
			Check{Name: "mad", Func: func(context.Context) error { panic("at the disco") }},
			Check{Name: "gone", Func: func(context.Context) error { runtime.Goexit(); return nil }},
		)
		want(t, m, discovery.Critical, "mad: panicked: at the disco")
		want(t, m, discovery.Critical, "gone: ended its goroutine")
	})
}

// A check that hangs is called once, however long it hangs, and asked again when
// it has ended.
func TestHangingCheckDoesNotPileUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls atomic.Int32
		release := make(chan struct{})
		m, log := open(t, Check{Name: "db", Interval: time.Second, Timeout: 2 * time.Second, Func: func(context.Context) error {
			if calls.Add(1) == 1 {
				<-release // heeds nothing
			}
			return nil
		}})
		time.Sleep(2 * time.Second)
		want(t, m, discovery.Critical, "db: has not answered in 2s")
		time.Sleep(time.Hour)
		want(t, m, discovery.Critical, "db: hangs")
		if n := calls.Load(); n != 1 {
			t.Errorf("called %d times", n)
		}
		if n := strings.Count(log.String(), "a health check fails"); n != 1 {
			t.Errorf("told %d times", n)
		}
		close(release)
		time.Sleep(3 * time.Second)
		want(t, m, discovery.Passing, "")
	})
}

func TestCloseIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		defer close(release)
		m, _ := open(t, Check{Name: "deaf", Func: func(context.Context) error { <-release; return nil }})
		synctest.Wait()
		start := time.Now()
		m.Close()
		if took := time.Since(start); took > time.Second {
			t.Errorf("it took %v", took)
		}
		if _, err := m.Add(Check{Name: "late", Func: func(context.Context) error { return nil }}); err == nil {
			t.Error("a check was added after Close")
		}
		release <- struct{}{}
	})
}

func TestRemove(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, _ := open(t)
		var calls atomic.Int32
		remove, err := m.Add(Check{Name: "db", Func: func(context.Context) error { calls.Add(1); return errDown }})
		if err != nil {
			t.Fatal(err)
		}
		want(t, m, discovery.Critical, "db")
		if _, err := m.Add(Check{Name: "db", Func: func(context.Context) error { return nil }}); err == nil {
			t.Error("two checks have one name")
		}
		remove()
		remove()
		want(t, m, discovery.Passing, "ready")
		before := calls.Load()
		time.Sleep(time.Hour)
		if calls.Load() != before {
			t.Error("it is still asked")
		}
	})
}

func TestCheckFaults(t *testing.T) {
	err := Check{Kind: 9, Interval: -1, Timeout: -1, Up: -1, Down: -1}.Validate()
	for _, part := range []string{"Name", "Func", "Kind", "Interval", "Timeout", "Up", "Down"} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%v does not name %s", err, part)
		}
	}
}

// An output stays one line of bounded length, whatever a check says.
func TestLine(t *testing.T) {
	for in, out := range map[string]string{"a\n\tb\xff": "a b?", "": "", strings.Repeat("é", 200): strings.Repeat("é", 100) + "…"} {
		if got := line(in); got != out {
			t.Errorf("%q: %q", in, got)
		}
	}
}
