package httpadapter

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"runtime"
	"testing"
)

// source is a body that can not be rewound; it knows whether it was closed.
type source struct {
	io.Reader
	closed int
}

func (s *source) Close() error { s.closed++; return nil }

func kept(t *testing.T, from io.Reader) (*replay, *source) {
	t.Helper()
	s := &source{Reader: from}
	return newReplay(&http.Request{Body: s}), s
}

func next(t *testing.T, b *replay, limit int) io.ReadCloser {
	t.Helper()
	r, _, err := b.next(limit)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestReplayGivesEachAttemptAll(t *testing.T) {
	const text = "a body of some length"
	b, s := kept(t, bytes.NewBufferString(text))
	first := next(t, b, 100)
	if _, err := io.ReadFull(first, make([]byte, 5)); err != nil {
		t.Fatal(err)
	}
	if err := first.Close(); err != nil || s.closed != 0 {
		t.Fatalf("closed %d times, %v: another attempt may come", s.closed, err)
	}
	second := next(t, b, 100)
	if n, err := first.Read(make([]byte, 5)); n != 0 || !errors.Is(err, errSuperseded) {
		t.Errorf("the first attempt reads on: %d, %v", n, err)
	}
	if all, err := io.ReadAll(second); err != nil || string(all) != text || !b.replayable() || b.failure() != nil {
		t.Errorf("got %q, %v, replayable %v", all, err, b.replayable())
	}
	b.decided(true)
	if s.closed != 0 {
		t.Error("closed while the transport has it")
	}
	_ = second.Close()
	if s.closed != 1 {
		t.Errorf("closed %d times, want once", s.closed)
	}
}

func TestReplayForgetsWhatIsTooLong(t *testing.T) {
	const text = "0123456789"
	for limit, want := range map[int]bool{len(text): true, len(text) - 1: false, 0: false, -1: false} {
		b, _ := kept(t, bytes.NewBufferString(text))
		r := next(t, b, limit)
		if all, err := io.ReadAll(r); err != nil || string(all) != text {
			t.Errorf("limit %d: got %q, %v", limit, all, err)
		}
		if b.replayable() != want || (len(b.kept) > 0) != want {
			t.Errorf("limit %d: replayable %v with %d bytes kept, want %v", limit, b.replayable(), len(b.kept), want)
		}
		if _, err := b.again(); (err == nil) != want {
			t.Errorf("limit %d: again: %v", limit, err)
		}
	}
}

func TestReplayTellsWhatBroke(t *testing.T) {
	broken := errors.New("the disk is full")
	b, s := kept(t, io.MultiReader(bytes.NewBufferString("half"), failing{broken}))
	if _, err := io.ReadAll(next(t, b, 100)); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	if b.replayable() || !errors.Is(b.failure(), broken) {
		t.Errorf("replayable %v, failure %v", b.replayable(), b.failure())
	}
	b.decided(false)
	if s.closed != 1 {
		t.Errorf("closed %d times, want once", s.closed)
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// An attempt may be over while its body is still waited for: that holds up nobody,
// and what it then reads is not lost to the next one, or the next one is told.
func TestReplayDoesNotWaitForTheBody(t *testing.T) {
	for limit, want := range map[int]error{100: nil, 4: errors.New("the body is longer than the 4 bytes that are kept")} {
		for _, superseded := range []bool{true, false} {
			from, to := io.Pipe()
			b, _ := kept(t, from)
			first := next(t, b, limit)
			read := make(chan error)
			go func() { _, err := first.Read(make([]byte, 10)); read <- err }()
			for b.reading.TryLock() { // until it reads
				b.reading.Unlock()
				runtime.Gosched()
			}
			if !b.replayable() || b.failure() != nil {
				t.Error("nothing was read yet")
			}
			var second io.ReadCloser
			if superseded {
				second = next(t, b, limit)
			}
			if _, err := to.Write([]byte("half ")); err != nil || <-read != nil {
				t.Fatal(err)
			}
			go func() { _, _ = to.Write([]byte("body")); _ = to.Close() }()
			var err error
			if !superseded {
				second, _, err = b.next(limit)
			}
			var all []byte
			if err == nil {
				all, err = io.ReadAll(second)
			}
			if want == nil && (err != nil || string(all) != "half body") || want != nil && (err == nil || err.Error() != want.Error()) {
				t.Errorf("limit %d: the next attempt gets %q, %v", limit, all, err)
			}
			_ = from.Close() // whoever still writes ends
		}
	}
}

func TestNothingToReplay(t *testing.T) {
	for _, body := range []io.ReadCloser{nil, http.NoBody} {
		b := newReplay(&http.Request{Body: body})
		if r := next(t, b, 100); r != nil || !b.replayable() || b.failure() != nil {
			t.Errorf("%v: got %v", body, r)
		}
		b.decided(false)
	}
}
