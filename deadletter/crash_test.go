package deadletter_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/innermesh/innermesh/call"
	"github.com/innermesh/innermesh/deadletter"
	"github.com/innermesh/innermesh/deadletter/bolt"
	"github.com/innermesh/innermesh/internal/crashtest"
)

// What turns the test binary into the program that is killed.
const (
	crashStore  = "INNERMESH_DEADLETTER_CRASH"
	crashTarget = "INNERMESH_DEADLETTER_CRASH_TARGET"
	crashDrain  = "INNERMESH_DEADLETTER_CRASH_DRAIN"
)

// TestCrash kills a program that enqueues, delivers, keeps and redrives letters,
// again and again, at random points. Whatever it has acknowledged must have been
// delivered or be in its sink, and every sending of a letter must carry one key.
func TestCrash(t *testing.T) {
	town := newTown(t)
	path := filepath.Join(t.TempDir(), "letters.db")
	acked := map[string]string{}
	killed, total := 0, 0
	start := func(drain bool) *crashtest.Child {
		return crashtest.Start(t, crashStore+"="+path, crashTarget+"="+town.srv.URL, fmt.Sprintf("%s=%t", crashDrain, drain))
	}
	for range crashtest.Rounds(t, 20*time.Second) {
		c := start(false)
		if rand.IntN(4) > 0 { // else: perhaps in the middle of its start
			c.First(t)
		}
		crashtest.Pause(t, 60*time.Millisecond)
		total += note(acked, c.Kill())
		town.verify(t, path, acked)
		killed++
	}
	if t.Failed() {
		t.Fatalf("in round %d, after %d letters", killed, total)
	}
	town.kind.Store(true)
	said, err := start(true).Wait()
	if err != nil {
		t.Errorf("the last one, which nobody has killed: %v", err)
	}
	note(acked, said)
	if left := town.verify(t, path, acked); left[deadletter.Queued]+left[deadletter.Waiting] > 0 {
		t.Errorf("letters are left although everything works: %v", left)
	}
	town.mu.Lock()
	defer town.mu.Unlock()
	t.Logf("%d kills, %d letters acknowledged, %d delivered, %d sent more than once", killed, total, len(town.delivered), town.again)
	if total == 0 || len(town.delivered) == 0 || killed == 0 {
		t.Error("nothing has happened: the test proves nothing")
	}
}

// town is where letters go to. It is kind, or answers well now and then.
type town struct {
	srv  *httptest.Server
	kind atomic.Bool

	mu        sync.Mutex
	keys      map[string]string
	delivered map[string]bool
	again     int
	faults    []string
}

func newTown(t *testing.T) *town {
	w := &town{keys: map[string]string{}, delivered: map[string]bool{}}
	w.srv = httptest.NewServer(w)
	t.Cleanup(w.srv.Close)
	return w
}

func (w *town) ServeHTTP(res http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return // the sender was killed
	}
	id, key := string(body), req.Header.Get("Idempotency-Key")
	mood := rand.IntN(20)
	if w.kind.Load() {
		mood = 19
	}
	w.mu.Lock()
	switch had, again := w.keys[id]; {
	case key == "":
		w.faults = append(w.faults, id+" was sent without a key")
	case again && had != key:
		w.faults = append(w.faults, id+" was sent with the keys "+had+" and "+key)
	case again:
		w.again++
	}
	w.keys[id] = key
	if mood > 5 {
		w.delivered[id] = true
	}
	w.mu.Unlock()
	switch {
	case mood > 5:
	case mood > 0:
		res.WriteHeader(http.StatusServiceUnavailable)
	default:
		<-req.Context().Done() // no answer at all
	}
}

// verify looks for every acknowledged letter, and returns what the sink has.
func (w *town) verify(t *testing.T, path string, acked map[string]string) map[deadletter.State]int {
	t.Helper()
	s, err := bolt.Open(path, bolt.Options{LockWait: 10 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close() // the test fails on what was read
	kept := map[string]string{}
	left := map[deadletter.State]int{}
	for l, err := range deadletter.All(t.Context(), s, deadletter.Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		kept[string(l.Body)] = l.Key
		left[l.State]++
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, fault := range w.faults {
		t.Error(fault)
	}
	w.faults = nil
	for id, key := range acked {
		have, ok := kept[id]
		if !ok && !w.delivered[id] {
			t.Errorf("letter %s was acknowledged, and is lost", id)
		}
		if ok && have != key {
			t.Errorf("letter %s is kept with the key %s, and was acknowledged with %s", id, have, key)
		}
		if sent, ok := w.keys[id]; ok && sent != key {
			t.Errorf("letter %s was sent with the key %s, and was acknowledged with %s", id, sent, key)
		}
		if w.delivered[id] && !ok {
			delete(acked, id) // it is done
		}
	}
	return left
}

// note remembers what was acknowledged, and counts it.
func note(acked map[string]string, said []string) int {
	for _, line := range said {
		id, key, _ := strings.Cut(line, " ")
		acked[id] = key
	}
	return len(said)
}

// crashChild is the program: it never ends by itself, unless it is to drain.
func crashChild(path string) int {
	return crashtest.Program(func() error {
		return live(context.Background(), path, os.Getenv(crashTarget), os.Getenv(crashDrain) == "true")
	})
}

func live(ctx context.Context, path, target string, drain bool) error {
	sink, err := bolt.Open(path, bolt.Options{LockWait: 10 * time.Second})
	if err != nil {
		return err
	}
	sender := deadletter.HTTPSender{Client: &http.Client{}}
	outbox, err := deadletter.NewOutbox(deadletter.OutboxOptions{
		Sink: sink, Sender: sender, Workers: 8, Attempts: 2, Timeout: 200 * time.Millisecond, Poll: 20 * time.Millisecond,
		Backoff: deadletter.Backoff{Base: time.Millisecond, Max: 20 * time.Millisecond}, Logger: quiet,
	})
	if err != nil {
		return err
	}
	redriver, err := deadletter.NewRedriver(deadletter.RedriverOptions{
		Sink: sink, Sender: sender, Workers: 4, Rate: -1, Redrives: 4, Timeout: 200 * time.Millisecond, Poll: 10 * time.Millisecond,
		Backoff: deadletter.Backoff{Base: time.Millisecond, Max: 20 * time.Millisecond}, Logger: quiet,
	})
	if err != nil {
		return err
	}
	recorder, err := deadletter.NewRecorder(deadletter.RecorderOptions{Sink: sink, All: true, Logger: quiet})
	if err != nil {
		return err
	}
	if !drain {
		for range 4 {
			go say(func(id string) (string, error) { return enqueue1(ctx, outbox, target, id) })
		}
		go say(func(id string) (string, error) { return fail1(ctx, recorder, target, id) })
		return redriver.Run(ctx)
	}
	for {
		if _, err := redriver.Redrive(ctx, deadletter.Filter{}); err != nil {
			return err
		}
		d, err := deadletter.Count(ctx, sink, deadletter.Filter{})
		if err != nil {
			return err
		}
		if d.Letters[deadletter.Queued]+d.Letters[deadletter.Waiting] == 0 {
			return errors.Join(outbox.Close(ctx), sink.Close())
		}
		<-time.After(10 * time.Millisecond)
	}
}

// say tells what was acknowledged: the letter and its key.
func say(do func(id string) (key string, err error)) {
	for {
		id := deadletter.NewID(time.Now())
		key, err := do(id)
		if err != nil {
			fmt.Fprintln(os.Stderr, "child:", err)
			os.Exit(4)
		}
		fmt.Printf("%s %s.\n", id, key)
		<-time.After(time.Duration(rand.IntN(5)) * time.Millisecond)
	}
}

func enqueue1(ctx context.Context, outbox *deadletter.Outbox, target, id string) (string, error) {
	l := deadletter.Letter{
		ID: id, Protocol: "http", Service: "town", Method: http.MethodPost, URL: target, Body: []byte(id), Key: "key-" + id,
	}
	_, err := outbox.Enqueue(ctx, l)
	return l.Key, err
}

// fail1 makes a durable call that reaches nobody.
func fail1(ctx context.Context, recorder *deadletter.Recorder, target, id string) (key string, err error) {
	client := http.Client{Transport: recorder.Transport(roundTripper(func(req *http.Request) (*http.Response, error) {
		key = req.Header.Get("Idempotency-Key")
		return nil, &call.Error{Service: "town", Reason: call.Unreachable, Err: io.EOF}
	}))}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target, strings.NewReader(id))
	if err != nil {
		return "", err
	}
	res, err := client.Do(req)
	if err == nil {
		return "", errors.Join(errors.New("it was answered"), res.Body.Close())
	}
	if _, ok := errors.AsType[*deadletter.KeptError](err); !ok {
		return "", err
	}
	return key, nil
}
