package nats_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/innermesh/innermesh/deadletter"
	"github.com/innermesh/innermesh/deadletter/deadlettertest"
	"github.com/innermesh/innermesh/deadletter/nats"
)

var buckets atomic.Int64

func name() string { return deadletter.NewID(time.Now()) + string(rune('a'+buckets.Add(1)%26)) }

func open(t deadlettertest.TB, js jetstream.JetStream, o nats.Options) *nats.Sink {
	t.Helper()
	s, err := nats.Open(t.Context(), js, o)
	if err != nil {
		t.Fatalf("%v", err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Fatalf("%v", err)
		}
	})
	return s
}

func TestSink(t *testing.T) {
	needServer(t)
	js := shared.connect(t)
	deadlettertest.Run(t, func(t deadlettertest.TB) deadletter.Sink {
		bucket := name()
		t.Cleanup(func() { _ = js.DeleteKeyValue(context.Background(), bucket) })
		return open(t, js, nats.Options{Bucket: bucket})
	})
}

func TestOptions(t *testing.T) {
	_, err := nats.Open(t.Context(), nil, nats.Options{Replicas: 6, MaxLetters: -1, MaxSize: -1, Resync: -1})
	for _, field := range []string{"Replicas", "MaxLetters", "MaxSize", "Resync"} {
		if err == nil || !strings.Contains(err.Error(), field+" is") {
			t.Errorf("%v does not name %s", err, field)
		}
	}
}

// A bucket that loses letters is refused.
func TestForgetfulBuckets(t *testing.T) {
	needServer(t)
	js := shared.connect(t)
	for what, c := range map[string]jetstream.KeyValueConfig{
		"in memory": {Storage: jetstream.MemoryStorage},
		"for a day": {TTL: 24 * time.Hour},
	} {
		c.Bucket = name()
		if _, err := js.CreateKeyValue(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		s, err := nats.Open(t.Context(), js, nats.Options{Bucket: c.Bucket})
		if err == nil || !strings.Contains(err.Error(), "want file storage") {
			t.Errorf("%s: %v", what, err)
			_ = s.Close()
		}
	}
	if _, err := nats.Open(t.Context(), js, nats.Options{Bucket: "no such.name"}); err == nil {
		t.Error("a bucket of no name was opened")
	}
}

func TestFull(t *testing.T) {
	needServer(t)
	s := open(t, shared.connect(t), nats.Options{Bucket: name(), MaxLetters: 2})
	for n := range 2 {
		if err := s.Put(t.Context(), deadlettertest.Letter(n)); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Put(t.Context(), deadlettertest.Letter(2)); !errors.Is(err, deadletter.ErrFull) {
		t.Errorf("a third letter: %v", err)
	}
	if err := s.Put(t.Context(), deadlettertest.Letter(1)); !errors.Is(err, deadletter.ErrExists) {
		t.Errorf("one that is there: %v", err)
	}
	big := open(t, shared.connect(t), nats.Options{Bucket: name()})
	l := deadlettertest.Letter(1)
	l.Body = make([]byte, 1<<20)
	if err := big.Put(t.Context(), l); !errors.Is(err, deadletter.ErrTooLarge) {
		t.Errorf("a letter longer than a message may be: %v", err)
	}
	l.Body = make([]byte, 512<<10)
	if err := big.Put(t.Context(), l); err != nil {
		t.Errorf("a body as long as may be by default: %v", err)
	}
}

// Two machines work on one bucket: each letter is given to one of them, and what
// one does the other hears.
func TestTwoMachines(t *testing.T) {
	needServer(t)
	bucket := name()
	a := open(t, shared.connect(t), nats.Options{Bucket: bucket, Resync: 100 * time.Millisecond})
	const letters = 60
	for n := range letters / 2 {
		if err := a.Put(t.Context(), deadlettertest.Letter(n)); err != nil {
			t.Fatal(err)
		}
	}
	b := open(t, shared.connect(t), nats.Options{Bucket: bucket, Resync: 100 * time.Millisecond})
	if b.Len() != letters/2 {
		t.Errorf("opened with %d letters of %d", b.Len(), letters/2)
	}
	for n := letters / 2; n < letters; n++ {
		if err := a.Put(t.Context(), deadlettertest.Letter(n)); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "b hears of all letters", func() bool { return b.Len() == letters })
	var mu sync.Mutex
	given := map[string]string{}
	var wg sync.WaitGroup
	for owner, s := range map[string]*nats.Sink{"a": a, "b": b} {
		wg.Go(func() {
			for {
				got, err := s.Claim(t.Context(), deadletter.Claim{Owner: owner, Lease: time.Hour, Limit: 2})
				if err != nil {
					t.Error(err)
					return
				}
				if len(got) == 0 {
					return
				}
				mu.Lock()
				for _, l := range got {
					if other, twice := given[l.ID]; twice {
						t.Errorf("%s was given to %s and %s", l.ID, other, owner)
					}
					given[l.ID] = owner
				}
				mu.Unlock()
				for _, l := range got {
					if err := s.Remove(t.Context(), l); err != nil {
						t.Errorf("remove: %v", err)
					}
				}
			}
		})
	}
	wg.Wait()
	if len(given) != letters {
		t.Errorf("%d of %d letters were given out", len(given), letters)
	}
	eventually(t, "both hear that all is done", func() bool { return a.Len() == 0 && b.Len() == 0 })
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	end := time.After(10 * time.Second)
	for !is() {
		select {
		case <-ticker.C:
		case <-end:
			t.Fatalf("%s: not within 10 s", what)
		}
	}
}

// What is no letter is told, and left there.
func TestStrangers(t *testing.T) {
	needServer(t)
	js, bucket := shared.connect(t), name()
	kv, err := js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: bucket})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := kv.Put(t.Context(), "stranger", []byte("no letter")); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	s := open(t, js, nats.Options{Bucket: bucket, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if s.Len() != 0 || !strings.Contains(log.String(), "key=stranger") {
		t.Errorf("%d letters; logged: %s", s.Len(), &log)
	}
	if e, err := kv.Get(t.Context(), "stranger"); err != nil || string(e.Value()) != "no letter" {
		t.Errorf("the stranger is %v, %v", e, err)
	}
}

// The server is killed under load, again and again: no letter that it has
// acknowledged is lost, and the sink goes on by itself.
func TestServerIsKilled(t *testing.T) {
	needServer(t)
	own := &server{binary: shared.binary, dir: t.TempDir()}
	if err := own.start(); err != nil {
		t.Fatal(err)
	}
	defer func() { own.kill() }()
	s := open(t, own.connect(t), nats.Options{Bucket: name()})
	var acked sync.Map
	var next atomic.Int64
	rounds := 4
	if testing.Short() {
		rounds = 2
	}
	for range rounds {
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		count := make(chan struct{}, 1<<16)
		for range 4 {
			wg.Go(func() {
				for ctx.Err() == nil {
					l := deadlettertest.Letter(int(next.Add(1)))
					putting, stop := context.WithTimeout(ctx, time.Second)
					if err := s.Put(putting, l); err == nil {
						acked.Store(l.ID, true)
						count <- struct{}{}
					}
					stop()
				}
			})
		}
		for range 20 + rand.IntN(100) {
			<-count
		}
		own.kill()
		cancel()
		wg.Wait()
		if err := own.start(); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the sink works again", func() bool {
			ctx, stop := context.WithTimeout(t.Context(), time.Second)
			defer stop()
			l := deadlettertest.Letter(int(next.Add(1)))
			err := s.Put(ctx, l)
			if err == nil {
				acked.Store(l.ID, true)
			}
			return err == nil
		})
	}
	have := map[string]bool{}
	for l, err := range deadletter.All(t.Context(), s, deadletter.Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		have[l.ID] = true
	}
	n := 0
	acked.Range(func(id, _ any) bool {
		n++
		if !have[id.(string)] {
			t.Errorf("%v was acknowledged, and is lost", id)
		}
		return true
	})
	t.Logf("%d letters acknowledged over %d deaths of the server, %d are there", n, rounds, len(have))
}
