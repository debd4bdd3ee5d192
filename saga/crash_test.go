package saga_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/innermesh/innermesh/idempotency"
	"github.com/innermesh/innermesh/internal/crashtest"
	"github.com/innermesh/innermesh/saga"
	"github.com/innermesh/innermesh/saga/bolt"
)

// What turns the test binary into the program that is killed.
const (
	crashLog    = "INNERMESH_SAGA_CRASH"
	crashTarget = "INNERMESH_SAGA_CRASH_TARGET"
	crashDrain  = "INNERMESH_SAGA_CRASH_DRAIN"
	// refused ends the IDs of sagas that can not be completed.
	refused = "-refused"
)

// TestCrash kills a program that carries sagas out, again and again, at random
// points. Whatever it has said to be started must end in one of its two states,
// and the town in which the sagas act must look like that state: each effect
// there once, or taken back.
func TestCrash(t *testing.T) {
	w := newTown(t)
	path := filepath.Join(t.TempDir(), "sagas")
	started := map[string]bool{}
	killed, total, ended := 0, 0, map[saga.Status]int{}
	start := func(drain bool) *crashtest.Child {
		return crashtest.Start(t, crashLog+"="+path, crashTarget+"="+w.srv.URL, fmt.Sprintf("%s=%t", crashDrain, drain))
	}
	for range crashtest.Rounds(t, 15*time.Second) {
		c := start(false)
		if rand.IntN(4) > 0 { // else: perhaps in the middle of its start
			c.First(t)
		}
		crashtest.Pause(t, 80*time.Millisecond)
		for _, id := range c.Kill() {
			started[id] = true
			total++
		}
		w.verify(t, path, started, ended)
		killed++
	}
	if t.Failed() {
		t.Fatalf("in round %d, after %d sagas", killed, total)
	}
	w.kind.Store(true)
	if _, err := start(true).Wait(); err != nil {
		t.Errorf("the last one, which nobody has killed: %v", err)
	}
	w.verify(t, path, started, ended)
	for id := range started {
		t.Errorf("saga %s has not ended although everything works", id)
	}
	t.Logf("%d kills, %d sagas: %v; %d repeats, %d that came late", killed, total, ended, w.repeats, w.lates)
	if killed == 0 || ended[saga.Completed] == 0 || ended[saga.Compensated] == 0 {
		t.Error("too little has happened: the test proves nothing")
	}
}

// town is where sagas act. It is kind, or answers well now and then. Each effect
// happens once for its key, and never after it was undone.
type town struct {
	srv  *httptest.Server
	kind atomic.Bool

	mu      sync.Mutex
	effects map[string]*effect // by the key of Do
	keys    map[string]string  // the key of each saga's step, either way
	repeats int
	lates   int
	faults  []string
}

type effect struct {
	saga, step   string
	done, undone int
}

func newTown(t *testing.T) *town {
	w := &town{effects: map[string]*effect{}, keys: map[string]string{}}
	w.srv = httptest.NewServer(w)
	t.Cleanup(w.srv.Close)
	return w
}

func (w *town) ServeHTTP(res http.ResponseWriter, req *http.Request) {
	q := req.URL.Query()
	id, name, way, do := q.Get("saga"), q.Get("step"), q.Get("way"), q.Get("key")
	key, err := idempotency.ParseKey(req.Header.Get(idempotency.Header))
	mood := rand.IntN(100)
	if w.kind.Load() {
		mood = 99
	}
	w.mu.Lock()
	place := id + " " + name + " " + way
	if was, again := w.keys[place]; err != nil || again && was != key {
		w.faults = append(w.faults, fmt.Sprintf("%s came with the keys %q and %q (%v)", place, was, key, err))
	}
	w.keys[place] = key
	e := w.effects[do]
	if e == nil {
		e = &effect{saga: id, step: name}
		w.effects[do] = e
	}
	status := http.StatusOK
	switch {
	case way == "do" && e.undone > 0: // its sender is dead, or has given it up
		w.lates++
		status = http.StatusConflict
	case way == "do" && e.done > 0:
		w.repeats++
	case mood < 8:
		status = http.StatusServiceUnavailable
	case way == "do" && name == "charge" && strings.HasSuffix(id, refused):
		status = http.StatusUnprocessableEntity
	case way == "do" && name != "ship" && mood < 14:
		status = http.StatusUnprocessableEntity
	case way == "do":
		e.done++
	default:
		e.undone++
	}
	w.mu.Unlock()
	if mood >= 90 && mood < 93 {
		<-req.Context().Done() // no answer
		return
	}
	res.WriteHeader(status)
}

// verify looks for every saga that was started, counts those that have ended and
// compares the town with their ends.
func (w *town) verify(t *testing.T, path string, started map[string]bool, ended map[saga.Status]int) {
	t.Helper()
	l, err := bolt.Open(bolt.Options{Path: path, OpenTimeout: 10 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() // the test fails on what was read
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, fault := range w.faults {
		t.Error(fault)
	}
	w.faults = nil
	town := map[string]map[string]*effect{}
	for _, e := range w.effects {
		if town[e.saga] == nil {
			town[e.saga] = map[string]*effect{}
		}
		town[e.saga][e.step] = e
	}
	for id := range started {
		p, err := l.List(t.Context(), saga.Query{IDs: []string{id}})
		if err != nil || len(p.Sagas) != 1 {
			t.Errorf("saga %s was started, and is lost: %v", id, err)
			continue
		}
		r := p.Sagas[0]
		if !r.Status.Ended() {
			continue
		}
		ended[r.Status]++
		delete(started, id) // its effects stay in the town: late requests must not change them
		for _, name := range []string{"reserve", "pack", "mail", "charge", "ship"} {
			e := town[id][name]
			if e == nil {
				e = &effect{}
			}
			switch {
			case e.done > 1:
				t.Errorf("saga %s: %s has happened %d times", id, name, e.done)
			case r.Status == saga.Completed && (e.done != 1 || e.undone > 0):
				t.Errorf("saga %s is completed, and %s was done %d times, undone %d times", id, name, e.done, e.undone)
			case r.Status == saga.Compensated && name != "charge" && e.done > 0 && e.undone == 0:
				t.Errorf("saga %s is compensated, and %s is not undone", id, name)
			case r.Status == saga.Compensated && (name == "charge" || name == "ship") && e.done > 0:
				t.Errorf("saga %s is compensated, and has passed %s", id, name)
			}
		}
	}
}

// crashChild is the program: it never ends by itself, unless it is to drain.
func crashChild(path string) int {
	return crashtest.Program(func() error { return live(context.Background(), path) })
}

func live(ctx context.Context, path string) error {
	l, err := bolt.Open(bolt.Options{Path: path, OpenTimeout: 10 * time.Second})
	if err != nil {
		return err
	}
	def := townSaga(os.Getenv(crashTarget))
	c, err := saga.New(saga.Options{
		Log: l, Definitions: []saga.Runnable{def}, Logger: quiet, MaxRunning: 32, Poll: 20 * time.Millisecond,
	})
	if err != nil {
		return err
	}
	if os.Getenv(crashDrain) != "true" {
		var n atomic.Int32
		for range 4 {
			go func() {
				for {
					id := idempotency.NewKey()
					if n.Add(1)%4 == 1 {
						id += refused
					}
					if err := saga.Start(ctx, c, def, id, numbers{}); err != nil {
						fmt.Fprintln(os.Stderr, "child:", err)
						os.Exit(4)
					}
					fmt.Printf("%s.\n", id)
					<-time.After(time.Duration(rand.IntN(20)) * time.Millisecond)
				}
			}()
		}
		select {}
	}
	for {
		open, _, err := c.List(ctx, saga.Query{Statuses: []saga.Status{saga.Running, saga.Compensating, saga.Stuck}})
		if err != nil {
			return err
		}
		if i := slices.IndexFunc(open, func(i saga.Info) bool { return i.Status == saga.Stuck }); i >= 0 {
			return fmt.Errorf("saga %s is stuck: %s", open[i].ID, open[i].Error)
		}
		if len(open) == 0 {
			return errors.Join(c.Close(ctx), l.Close())
		}
		<-time.After(10 * time.Millisecond)
	}
}

type numbers = map[string]json.Number

// townSaga acts in the town by HTTP. Each step counts in the state.
func townSaga(target string) *saga.Definition[numbers] {
	client := &http.Client{Transport: saga.Transport(&http.Transport{MaxIdleConnsPerHost: 64})}
	act := func(ctx context.Context, n *numbers) error {
		d, _ := saga.From(ctx)
		way := "do"
		if d.Undo {
			way = "undo"
			(*n)["un-"+d.Step] = "1"
		} else {
			(*n)[d.Step] = "1"
		}
		q := url.Values{"saga": {d.Saga}, "step": {d.Step}, "way": {way}, "key": {d.DoKey}}
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, target+"/?"+q.Encode(), nil)
		if err != nil {
			return err
		}
		res, err := client.Do(req)
		if err != nil {
			return err
		}
		_ = res.Body.Close()
		switch {
		case res.StatusCode == http.StatusUnprocessableEntity:
			return saga.NoEffect(errors.New("refused"))
		case res.StatusCode != http.StatusOK:
			return fmt.Errorf("status %d", res.StatusCode)
		default:
			return nil
		}
	}
	fast := saga.Retry{Base: time.Millisecond, Max: 20 * time.Millisecond}
	forever := fast
	forever.Attempts = -1
	s := func(name string) saga.Step[numbers] {
		return saga.Step[numbers]{Name: name, Do: act, Undo: act, Timeout: 100 * time.Millisecond, Retry: fast, UndoRetry: forever}
	}
	charge, ship := s("charge"), s("ship")
	charge.Pivot, charge.Undo, ship.Undo = true, nil, nil
	return &saga.Definition[numbers]{Name: "town", Steps: []saga.Step[numbers]{
		s("reserve"), {Together: []saga.Step[numbers]{s("pack"), s("mail")}}, charge, ship,
	}}
}
