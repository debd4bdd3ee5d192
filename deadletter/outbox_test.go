package deadletter_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/innermesh/innermesh/call"
	"github.com/innermesh/innermesh/deadletter"
	"github.com/innermesh/innermesh/deadletter/deadlettertest"
)

func newOutbox(t *testing.T, o deadletter.OutboxOptions) *deadletter.Outbox {
	t.Helper()
	if o.Logger == nil {
		o.Logger = quiet
	}
	b, err := deadletter.NewOutbox(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_ = b.Close(ctx) // without waiting: a test that wants that has done so
	})
	return b
}

func enqueue(t *testing.T, b *deadletter.Outbox, all ...deadletter.Letter) (ids []string) {
	t.Helper()
	for _, l := range all {
		id, err := b.Enqueue(t.Context(), l)
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	return ids
}

func TestOutboxDelivers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink, to := new(deadletter.Memory), new(receiver)
		b := newOutbox(t, deadletter.OutboxOptions{Sink: sink, Sender: to, Workers: 2})
		ids := enqueue(t, b, letters(5)...)
		if id, err := b.EnqueueRequest(t.Context(), post(t, "http://orders/43", "body")); err != nil {
			t.Error(err)
		} else {
			ids = append(ids, id)
		}
		synctest.Wait()
		got := to.ids()
		slices.Sort(got)
		slices.Sort(ids)
		if !slices.Equal(got, ids) || len(left(t, sink)) != 0 {
			t.Errorf("sent %v of %v, left %v", got, ids, left(t, sink))
		}
		for _, at := range to.times() {
			if !at.Equal(time.Now()) {
				t.Errorf("sent %v before now: it was to be at once", time.Since(at))
			}
		}
	})
}

// Several at a time, but never more than Workers.
func TestOutboxWorkers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink, to := new(deadletter.Memory), &receiver{took: time.Second}
		b := newOutbox(t, deadletter.OutboxOptions{Sink: sink, Sender: to, Workers: 3})
		began := time.Now()
		enqueue(t, b, letters(10)...)
		if err := b.Close(t.Context()); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took != 4*time.Second {
			t.Errorf("10 letters of a second each, 3 at a time, took %v", took)
		}
		if len(to.ids()) != 10 || len(left(t, sink)) != 0 {
			t.Errorf("sent %d, left %v", len(to.ids()), left(t, sink))
		}
		if _, err := b.Enqueue(t.Context(), deadlettertest.Letter(99)); !errors.Is(err, deadletter.ErrClosed) {
			t.Errorf("enqueue after Close: %v", err)
		}
		if err := b.Close(t.Context()); err != nil {
			t.Errorf("a second Close: %v", err)
		}
	})
}

func TestOutboxTriesAgainUntilDead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink := new(deadletter.Memory)
		to := &receiver{answer: func(deadletter.Letter, int) error { return errors.New("no") }}
		var log strings.Builder
		b := newOutbox(t, deadletter.OutboxOptions{
			Sink: sink, Sender: to, Attempts: 4, Backoff: deadletter.Backoff{Base: 100 * time.Millisecond, Max: time.Second},
			Logger: slog.New(slog.NewTextHandler(&log, nil)),
		})
		id := enqueue(t, b, deadlettertest.Letter(1))[0]
		time.Sleep(time.Minute)
		at := to.times()
		if len(at) != 4 {
			t.Fatalf("sent %d times, want 4", len(at))
		}
		for i, ms := range []int{100, 200, 400} {
			most := time.Duration(ms) * time.Millisecond
			if d := at[i+1].Sub(at[i]); d < most/2 || d > most {
				t.Errorf("rest %d was %v", i, d)
			}
		}
		l, err := deadletter.Get(t.Context(), sink, id)
		if err != nil || l.State != deadletter.Waiting || l.Deliveries != 4 || l.Redrives != 0 || l.Error != "no" {
			t.Errorf("got %v, %v", l, err)
		}
		if strings.Count(log.String(), "\n") != 1 || !strings.Contains(log.String(), id) {
			t.Errorf("logged: %s", &log)
		}
	})
}

func TestOutboxHearsRetryAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		to := &receiver{answer: func(_ deadletter.Letter, n int) error {
			if n == 1 {
				return &deadletter.StatusError{Status: 429, RetryAfter: 10 * time.Second}
			}
			return nil
		}}
		b := newOutbox(t, deadletter.OutboxOptions{Sink: new(deadletter.Memory), Sender: to})
		enqueue(t, b, deadlettertest.Letter(1))
		time.Sleep(time.Minute)
		if at := to.times(); len(at) != 2 || at[1].Sub(at[0]) < 10*time.Second || at[1].Sub(at[0]) > 11*time.Second {
			t.Errorf("sent at %v", at)
		}
	})
}

// A new outbox goes on where the last one stopped, and takes over what one that
// died had claimed once its lease is over.
func TestOutboxGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := letters(3)
		for i := range all {
			all[i].State = deadletter.Queued
		}
		sink, to := sinkWith(t, all...), new(receiver)
		if got, err := sink.Claim(t.Context(), deadletter.Claim{
			Owner: "the dead", Lease: time.Minute, Filter: deadletter.Filter{States: []deadletter.State{deadletter.Queued}},
		}); err != nil || len(got) != 1 {
			t.Fatal(got, err)
		}
		newOutbox(t, deadletter.OutboxOptions{Sink: sink, Sender: to})
		synctest.Wait()
		if len(to.ids()) != 2 {
			t.Errorf("sent %v at once, want the two that are free", to.ids())
		}
		time.Sleep(time.Minute + 2*time.Second)
		if len(to.ids()) != 3 || len(left(t, sink)) != 0 {
			t.Errorf("sent %v after the lease, left %v", to.ids(), left(t, sink))
		}
	})
}

func TestCloseIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink, to := new(deadletter.Memory), &receiver{took: time.Hour}
		b := newOutbox(t, deadletter.OutboxOptions{Sink: sink, Sender: to, Workers: 2, Timeout: 2 * time.Hour})
		enqueue(t, b, letters(5)...)
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		began := time.Now()
		if err := b.Close(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != time.Minute {
			t.Errorf("got %v after %v", err, time.Since(began))
		}
		if left := left(t, sink); left[deadletter.Queued] != 5 {
			t.Errorf("left %v, want all 5", left)
		}
		again := new(receiver)
		newOutbox(t, deadletter.OutboxOptions{Sink: sink, Sender: again})
		synctest.Wait()
		if len(again.ids()) != 5 {
			t.Errorf("the next outbox has sent %v at once", again.ids())
		}
	})
}

// Close does not wait for letters that rest.
func TestCloseLeavesWhatRests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink, to := new(deadletter.Memory), &receiver{answer: func(deadletter.Letter, int) error { return errors.New("no") }}
		b := newOutbox(t, deadletter.OutboxOptions{Sink: sink, Sender: to, Backoff: deadletter.Backoff{Base: time.Hour, Max: time.Hour}})
		enqueue(t, b, letters(3)...)
		began := time.Now()
		if err := b.Close(t.Context()); err != nil || time.Since(began) != 0 {
			t.Errorf("got %v after %v", err, time.Since(began))
		}
		if len(to.ids()) != 3 || left(t, sink)[deadletter.Queued] != 3 {
			t.Errorf("sent %v, left %v", to.ids(), left(t, sink))
		}
	})
}

func TestOutboxRefusedServiceRests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		up := time.Now().Add(time.Minute)
		to := &receiver{answer: func(l deadletter.Letter, _ int) error {
			if time.Now().Before(up) {
				return &call.Error{Service: l.Service, Reason: call.Rejected, Err: errors.New("no instance")}
			}
			return nil
		}}
		sink := new(deadletter.Memory)
		b := newOutbox(t, deadletter.OutboxOptions{Sink: sink, Sender: to, Workers: 1, Attempts: 1, Pause: 10 * time.Second})
		enqueue(t, b, letters(50)...)
		time.Sleep(59 * time.Second)
		if n := len(to.ids()); n > 6 {
			t.Errorf("a service that is down was asked %d times in a minute, want once in 10 s", n)
		}
		time.Sleep(20 * time.Second)
		if len(left(t, sink)) != 0 {
			t.Errorf("left %v: what was refused must not count as an attempt", left(t, sink))
		}
	})
}

func TestEnqueueRefuses(t *testing.T) {
	sink := &troubled{Sink: new(deadletter.Memory)}
	b := newOutbox(t, deadletter.OutboxOptions{Sink: sink, Sender: new(receiver), Request: deadletter.RequestOptions{MaxBody: 10}})
	long := deadlettertest.Letter(1)
	long.Body = bytes.Repeat([]byte("x"), 11)
	if _, err := b.Enqueue(t.Context(), long); !errors.Is(err, deadletter.ErrTooLarge) {
		t.Errorf("a long body: %v", err)
	}
	if _, err := b.EnqueueRequest(t.Context(), post(t, "http://orders/", "12345678901")); !errors.Is(err, deadletter.ErrTooLarge) {
		t.Errorf("a request with a long body: %v", err)
	}
	cut := deadlettertest.Letter(1)
	cut.Incomplete = true
	if _, err := b.Enqueue(t.Context(), cut); !errors.Is(err, deadletter.ErrIncomplete) {
		t.Errorf("an incomplete letter: %v", err)
	}
	if _, err := b.Enqueue(t.Context(), deadletter.Letter{}); err == nil {
		t.Error("an empty letter was taken")
	}
	sink.set(io.ErrShortWrite)
	if id, err := b.Enqueue(t.Context(), deadlettertest.Letter(1)); !errors.Is(err, io.ErrShortWrite) || id != "" {
		t.Errorf("a sink that fails: %q, %v", id, err)
	}
}

// Enqueue again after an unknown result does not send twice.
func TestEnqueueTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		to := &receiver{took: time.Second}
		b := newOutbox(t, deadletter.OutboxOptions{Sink: new(deadletter.Memory), Sender: to})
		enqueue(t, b, deadlettertest.Letter(1), deadlettertest.Letter(1))
		time.Sleep(time.Minute)
		if n := len(to.ids()); n != 1 {
			t.Errorf("sent %d times", n)
		}
	})
}

func TestEnqueueCompletes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink := new(deadletter.Memory)
		to := &receiver{answer: func(deadletter.Letter, int) error { return errors.New("no") }}
		b := newOutbox(t, deadletter.OutboxOptions{
			Sink: sink, Sender: to,
			Request: deadletter.RequestOptions{Keep: time.Hour, Labels: map[string]string{"team": "shop", "own": "no"}},
		})
		id := enqueue(t, b, deadletter.Letter{
			Protocol: "grpc", Service: "pay", Method: "/pay.Pay/Charge", Body: []byte{1}, Labels: map[string]string{"own": "yes"},
			Header: map[string][]string{"authorization": {"Bearer abc"}, "x-shop": {"1"}},
		})[0]
		l, err := deadletter.Get(t.Context(), sink, id)
		if err != nil {
			t.Fatal(err)
		}
		if l.Key == "" || !l.Expires.Equal(l.Created.Add(time.Hour)) || fmt.Sprint(l.Labels) != "map[own:yes team:shop]" ||
			fmt.Sprint(l.Header) != "map[x-shop:[1]]" || fmt.Sprint(l.Removed) != "[authorization]" {
			t.Errorf("kept %v: %v, %v, %v", l, l.Labels, l.Header, l.Removed)
		}
	})
}

func TestOutboxExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink := new(deadletter.Memory)
		to := &receiver{answer: func(deadletter.Letter, int) error { return errors.New("no") }}
		b := newOutbox(t, deadletter.OutboxOptions{
			Sink: sink, Sender: to, Attempts: -1, Request: deadletter.RequestOptions{Keep: time.Minute},
			Backoff: deadletter.Backoff{Base: 10 * time.Second, Max: 10 * time.Second},
		})
		l := deadlettertest.Letter(1)
		l.Created = time.Now()
		enqueue(t, b, l)
		time.Sleep(5 * time.Minute)
		if len(left(t, sink)) != 0 {
			t.Errorf("left %v", left(t, sink))
		}
		for _, at := range to.times() {
			if at.Sub(l.Created) > time.Minute {
				t.Errorf("sent %v after it was made, which is too late", at.Sub(l.Created))
			}
		}
	})
}

// Many callers and a Close in the middle: what was acknowledged is delivered or
// kept, nothing twice.
func TestEnqueueWhileClosing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink, to := new(deadletter.Memory), &receiver{took: time.Millisecond}
		b := newOutbox(t, deadletter.OutboxOptions{Sink: sink, Sender: to, Workers: 3})
		var mu sync.Mutex
		var kept []string
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for {
					l := deadlettertest.Letter(1)
					l.ID = ""
					id, err := b.Enqueue(t.Context(), l)
					if err != nil {
						return
					}
					mu.Lock()
					kept = append(kept, id)
					mu.Unlock()
					time.Sleep(time.Millisecond)
				}
			})
		}
		time.Sleep(50 * time.Millisecond)
		if err := b.Close(t.Context()); err != nil {
			t.Error(err)
		}
		wg.Wait()
		seen := map[string]int{}
		for _, id := range to.ids() {
			seen[id]++
		}
		for l, err := range deadletter.All(t.Context(), sink, deadletter.Filter{}) {
			if err != nil {
				t.Fatal(err)
			}
			seen[l.ID]++
		}
		for _, id := range kept {
			if seen[id] != 1 {
				t.Errorf("%s is there %d times", id, seen[id])
			}
		}
		if len(kept) < 100 {
			t.Errorf("only %d letters: the test proves little", len(kept))
		}
	})
}

func TestOutboxOptions(t *testing.T) {
	_, err := deadletter.NewOutbox(deadletter.OutboxOptions{
		Workers: -1, Pause: -1, Timeout: -1, Poll: -1, Lease: -1, Backoff: deadletter.Backoff{Base: -2},
		Request: deadletter.RequestOptions{MaxBody: -1, Keep: -1},
	})
	for _, field := range []string{
		"Sink", "Sender", "Workers", "Pause", "Timeout", "Poll", "Lease", "Backoff", "Request.MaxBody", "Request.Keep",
	} {
		if err == nil || !strings.Contains(err.Error(), field+" is") {
			t.Errorf("%v does not name %s", err, field)
		}
	}
}
