package deadletter_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
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

var quiet = slog.New(slog.DiscardHandler)

// receiver is a sender that writes down what it was given and answers as told.
type receiver struct {
	mu     sync.Mutex
	got    []sent
	answer func(l deadletter.Letter, n int) error // n counts from 1
	took   time.Duration
}

type sent struct {
	id, key string
	at      time.Time
}

func (r *receiver) Send(ctx context.Context, l deadletter.Letter) error {
	r.mu.Lock()
	r.got = append(r.got, sent{l.ID, l.Key, time.Now()})
	n := len(r.got)
	r.mu.Unlock()
	if r.took > 0 {
		select {
		case <-time.After(r.took):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if r.answer == nil {
		return nil
	}
	return r.answer(l, n)
}

func (r *receiver) ids() (ids []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.got {
		ids = append(ids, s.id)
	}
	return ids
}

func (r *receiver) times() (all []time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.got {
		all = append(all, s.at)
	}
	return all
}

func sinkWith(t *testing.T, letters ...deadletter.Letter) *deadletter.Memory {
	t.Helper()
	m := new(deadletter.Memory)
	for _, l := range letters {
		if err := m.Put(t.Context(), l); err != nil {
			t.Fatal(err)
		}
	}
	return m
}

func letters(n int) (all []deadletter.Letter) {
	for i := range n {
		all = append(all, deadlettertest.Letter(i))
	}
	return all
}

func newRedriver(t *testing.T, o deadletter.RedriverOptions) *deadletter.Redriver {
	t.Helper()
	if o.Logger == nil {
		o.Logger = quiet
	}
	r, err := deadletter.NewRedriver(o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func left(t *testing.T, s deadletter.Sink) map[deadletter.State]int {
	t.Helper()
	d, err := deadletter.Count(t.Context(), s, deadletter.Filter{})
	if err != nil {
		t.Fatal(err)
	}
	return d.Letters
}

func TestRedriveAtARate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink, to := sinkWith(t, letters(21)...), new(receiver)
		r := newRedriver(t, deadletter.RedriverOptions{Sink: sink, Sender: to, Rate: 5, Workers: 3})
		began := time.Now()
		report, err := r.Redrive(t.Context(), deadletter.Filter{})
		if err != nil || report != (deadletter.Report{Delivered: 21}) {
			t.Errorf("got %+v, %v", report, err)
		}
		if ids := to.ids(); len(ids) != 21 || len(left(t, sink)) != 0 {
			t.Errorf("sent %v, left %v", ids, left(t, sink))
		}
		for i, at := range to.times() {
			if want := began.Add(time.Duration(i) * 200 * time.Millisecond); at.Before(want) {
				t.Errorf("letter %d was sent %v too early", i, want.Sub(at))
			}
		}
	})
}

func TestRedriveUntilParked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink := sinkWith(t, letters(1)...)
		fault := &call.Error{Service: "orders", Method: "POST", Instance: "orders-1", Attempts: 3, Reason: call.Reset, Sent: call.SentUnknown, Err: io.EOF}
		to := &receiver{answer: func(deadletter.Letter, int) error { return fault }}
		var log strings.Builder
		r := newRedriver(t, deadletter.RedriverOptions{
			Sink: sink, Sender: to, Redrives: 3, Backoff: deadletter.Backoff{Base: time.Minute, Max: 90 * time.Second},
			Logger: slog.New(slog.NewTextHandler(&log, nil)),
		})
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if err := r.Run(ctx); err != nil {
			t.Errorf("run: %v", err)
		}
		at := to.times()
		if len(at) != 3 {
			t.Fatalf("sent %d times, want 3", len(at))
		}
		const poll = 5 * time.Second
		if d := at[1].Sub(at[0]); d < 30*time.Second || d > time.Minute+poll {
			t.Errorf("the first rest was %v", d)
		}
		if d := at[2].Sub(at[1]); d < 45*time.Second || d > 90*time.Second+poll {
			t.Errorf("the second rest was %v", d)
		}
		l, err := deadletter.Get(t.Context(), sink, deadlettertest.Letter(0).ID)
		if err != nil || l.State != deadletter.Parked || l.Redrives != 3 || l.Deliveries != 3 || len(l.Attempts) != 3 ||
			l.Reason != "reset" || l.Owner != "" || !l.LeasedUntil.IsZero() {
			t.Errorf("parked as %v: %+v, %v", l, l.Attempts, err)
		}
		if a := l.Attempts[0]; a.Instance != "orders-1" || a.Tries != 3 || a.Sent != "sent, result unknown" || !a.At.Equal(at[0]) || a.Error == "" {
			t.Errorf("the first attempt: %+v", a)
		}
		if n := strings.Count(log.String(), "parked"); n < 1 || strings.Count(log.String(), "\n") != 1 {
			t.Errorf("logged: %s", &log)
		}
		if n, err := deadletter.Revive(t.Context(), sink, deadletter.Filter{}); n != 1 || err != nil {
			t.Error(n, err)
		}
		to.answer = nil
		if report, err := r.Redrive(t.Context(), deadletter.Filter{}); report.Delivered != 1 || err != nil {
			t.Errorf("revived: %+v, %v", report, err)
		}
		for _, s := range to.got {
			if s.key != l.Key {
				t.Errorf("sent with the key %q, want %q", s.key, l.Key)
			}
		}
	})
}

func TestPoisonIsParkedAtOnce(t *testing.T) {
	sink := sinkWith(t, letters(2)...)
	incomplete := deadlettertest.Letter(7)
	incomplete.Incomplete = true
	if err := sink.Put(t.Context(), incomplete); err != nil {
		t.Fatal(err)
	}
	to := &receiver{answer: func(l deadletter.Letter, _ int) error {
		if l.ID == deadlettertest.Letter(0).ID {
			return fmt.Errorf("answered with 400: %w", deadletter.ErrPoison)
		}
		return nil
	}}
	r := newRedriver(t, deadletter.RedriverOptions{Sink: sink, Sender: to, Rate: -1})
	report, err := r.Redrive(t.Context(), deadletter.Filter{})
	if err != nil || report != (deadletter.Report{Delivered: 1, Parked: 2}) {
		t.Errorf("got %+v, %v", report, err)
	}
	if slices.Contains(to.ids(), incomplete.ID) {
		t.Error("a letter without the end of its body was sent")
	}
	if left := left(t, sink); left[deadletter.Parked] != 2 || len(left) != 1 {
		t.Errorf("left: %v", left)
	}
}

// What the library refuses to call costs a letter nothing, and its service is
// left alone while others are served.
func TestRefusedLettersArePutBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := letters(20)
		for i := range 10 {
			all[i].Service = "stock"
		}
		sink := sinkWith(t, all...)
		open := true
		to := &receiver{answer: func(l deadletter.Letter, _ int) error {
			if l.Service == "stock" && open {
				return fmt.Errorf("post: %w", &call.Error{Service: "stock", Reason: call.Rejected, Err: errors.New("breaker open")})
			}
			return nil
		}}
		r := newRedriver(t, deadletter.RedriverOptions{Sink: sink, Sender: to, Rate: -1, Pause: time.Minute})
		report, err := r.Redrive(t.Context(), deadletter.Filter{})
		if err != nil || report != (deadletter.Report{Delivered: 10, Refused: 1}) {
			t.Errorf("while the breaker is open: %+v, %v", report, err)
		}
		for l, err := range deadletter.All(t.Context(), sink, deadletter.Filter{}) {
			if err != nil || l.Redrives != 0 || l.Deliveries != 0 || len(l.Attempts) != 0 || l.Leased(time.Now()) {
				t.Errorf("%v has changed: %v", l, err)
			}
		}
		open = false
		if report, err = r.Redrive(t.Context(), deadletter.Filter{}); err != nil || report != (deadletter.Report{}) {
			t.Errorf("within the pause: %+v, %v", report, err)
		}
		time.Sleep(time.Minute)
		if report, err = r.Redrive(t.Context(), deadletter.Filter{}); err != nil || report != (deadletter.Report{Delivered: 10}) {
			t.Errorf("after the pause: %+v, %v", report, err)
		}
	})
}

func TestRedriveByFilter(t *testing.T) {
	all := letters(4)
	all[1].Labels = map[string]string{"team": "shop"}
	all[2].State, all[3].State = deadletter.Queued, deadletter.Parked
	sink, to := sinkWith(t, all...), new(receiver)
	r := newRedriver(t, deadletter.RedriverOptions{Sink: sink, Sender: to, Rate: -1})
	if report, err := r.Redrive(t.Context(), deadletter.Filter{Labels: map[string]string{"team": "shop"}}); report.Delivered != 1 || err != nil {
		t.Errorf("by label: %+v, %v", report, err)
	}
	if report, err := r.Redrive(t.Context(), deadletter.Filter{}); report.Delivered != 1 || err != nil {
		t.Errorf("all that wait: %+v, %v", report, err)
	}
	if got := to.ids(); !slices.Equal(got, []string{all[1].ID, all[0].ID}) {
		t.Errorf("sent %v", got)
	}
}

// Who is told to stop puts back what it was sending; that counts for nothing.
func TestRedriveStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink, to := sinkWith(t, letters(3)...), &receiver{took: time.Hour}
		r := newRedriver(t, deadletter.RedriverOptions{Sink: sink, Sender: to, Rate: -1, Timeout: 2 * time.Hour})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		report, err := r.Redrive(ctx, deadletter.Filter{})
		if !errors.Is(err, context.DeadlineExceeded) || report.Delivered+report.Failed != 0 || time.Since(began) != time.Second {
			t.Errorf("got %+v, %v after %v", report, err, time.Since(began))
		}
		for l, err := range deadletter.All(t.Context(), sink, deadletter.Filter{}) {
			if err != nil || l.Leased(time.Now()) || l.Deliveries != 0 {
				t.Errorf("%v is not as before: %v", l, err)
			}
		}
	})
}

// A receiver that never answers costs a redrive its Timeout, and is a failure.
func TestRedriveTimesOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink, to := sinkWith(t, letters(1)...), &receiver{took: time.Hour}
		r := newRedriver(t, deadletter.RedriverOptions{Sink: sink, Sender: to, Timeout: time.Minute})
		began := time.Now()
		report, err := r.Redrive(t.Context(), deadletter.Filter{})
		if err != nil || report.Failed != 1 || time.Since(began) != time.Minute {
			t.Errorf("got %+v, %v after %v", report, err, time.Since(began))
		}
	})
}

func TestRunExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := letters(3)
		all[0].Expires, all[1].Expires = time.Now().Add(time.Minute), time.Now().Add(time.Minute)
		all[1].State = deadletter.Parked
		for i := range all {
			all[i].NotBefore = time.Now().Add(time.Hour)
		}
		sink := sinkWith(t, all...)
		var log strings.Builder
		r := newRedriver(t, deadletter.RedriverOptions{Sink: sink, Sender: new(receiver), Logger: slog.New(slog.NewTextHandler(&log, nil))})
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		_ = r.Run(ctx)
		if left := left(t, sink); left[deadletter.Waiting] != 1 || len(left) != 1 {
			t.Errorf("left: %v", left)
		}
		if s := log.String(); strings.Count(s, "\n") != 1 || !strings.Contains(s, "letters=2") {
			t.Errorf("logged: %s", s)
		}
	})
}

// troubled is a sink that can be out of order.
type troubled struct {
	deadletter.Sink
	mu  sync.Mutex
	err error
}

func (s *troubled) set(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

func (s *troubled) fault() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

func (s *troubled) Claim(ctx context.Context, c deadletter.Claim) ([]deadletter.Letter, error) {
	if err := s.fault(); err != nil {
		return nil, err
	}
	return s.Sink.Claim(ctx, c)
}

func (s *troubled) Put(ctx context.Context, l deadletter.Letter) error {
	if err := s.fault(); err != nil {
		return err
	}
	return s.Sink.Put(ctx, l)
}

func TestATroubledSinkIsToldOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink := &troubled{Sink: sinkWith(t, letters(1)...), err: errors.New("disk gone")}
		var log strings.Builder
		to := new(receiver)
		r := newRedriver(t, deadletter.RedriverOptions{Sink: sink, Sender: to, Logger: slog.New(slog.NewTextHandler(&log, nil))})
		if _, err := r.Redrive(t.Context(), deadletter.Filter{}); err == nil || !strings.Contains(err.Error(), "disk gone") {
			t.Errorf("got %v", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
		defer cancel()
		time.AfterFunc(3*time.Minute, func() { sink.set(nil) })
		_ = r.Run(ctx)
		if len(to.ids()) != 1 {
			t.Errorf("sent %v, want it once the sink works", to.ids())
		}
		if s := log.String(); strings.Count(s, "does not work") != 1 || strings.Count(s, "works again") != 1 {
			t.Errorf("logged: %s", s)
		}
	})
}

func TestRedriverOptions(t *testing.T) {
	_, err := deadletter.NewRedriver(deadletter.RedriverOptions{
		Workers: -1, Pause: -1, Timeout: -1, Poll: -1, Lease: -1, Backoff: deadletter.Backoff{Base: 2, Max: 1},
	})
	for _, field := range []string{"Sink", "Sender", "Workers", "Pause", "Timeout", "Poll", "Lease", "Backoff"} {
		if err == nil || !strings.Contains(err.Error(), field+" is") {
			t.Errorf("%v does not name %s", err, field)
		}
	}
	for lease, ok := range map[time.Duration]bool{30 * time.Second: false, 31 * time.Second: true} {
		_, err := deadletter.NewRedriver(deadletter.RedriverOptions{Sink: new(deadletter.Memory), Sender: new(receiver), Lease: lease})
		if (err == nil) != ok {
			t.Errorf("a lease of %v with the default timeout: %v", lease, err)
		}
	}
}

func TestSenders(t *testing.T) {
	to := new(receiver)
	s := deadletter.Senders{"http": to, "grpc": deadletter.HTTPSender{Client: &http.Client{}}}
	l := deadlettertest.Letter(1)
	if err := s.Send(t.Context(), l); err != nil || len(to.ids()) != 1 {
		t.Errorf("http: %v", err)
	}
	for _, protocol := range []string{"carrier-pigeon", "grpc"} {
		l.Protocol = protocol
		if e, ok := errors.AsType[*call.Error](s.Send(t.Context(), l)); !ok || e.Reason != call.Rejected {
			t.Errorf("%s: %v", protocol, e)
		}
	}
}
