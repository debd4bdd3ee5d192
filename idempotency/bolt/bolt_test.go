package bolt_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.etcd.io/bbolt"
	"go.uber.org/goleak"

	"github.com/innermesh/innermesh/idempotency"
	"github.com/innermesh/innermesh/idempotency/bolt"
	"github.com/innermesh/innermesh/idempotency/idempotencytest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestContract(t *testing.T) {
	var s *bolt.Store
	idempotencytest.Run(t, idempotencytest.Harness{
		Open: func(t *testing.T) idempotency.Store {
			s = open(t, bolt.Options{Path: filepath.Join(t.TempDir(), "store"), NoSync: true})
			return s
		},
		Advance: func(_ *testing.T, d time.Duration) { <-time.After(d) },
		Within:  synctest.Test,
		Corrupt: func(t *testing.T, id idempotency.ID) { check(t, s.Spoil(id)) },
	})
}

func TestAnotherRunKnowsWhatWasDone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store")
	s := open(t, bolt.Options{Path: path})
	c := claim("done")
	begin(t, s, c, idempotency.First)
	if err := s.Complete(t.Context(), c.ID, c.Token, idempotencytest.Outcome(), time.Hour); err != nil {
		t.Fatal(err)
	}
	running := claim("running")
	begin(t, s, running, idempotency.First)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}

	s = open(t, bolt.Options{Path: path})
	e := begin(t, s, claim("done"), idempotency.Done)
	if e.Outcome.Status != idempotencytest.Outcome().Status {
		t.Errorf("outcome %+v", e.Outcome)
	}
	// Nobody else has the file, so who ran it is dead: no need to wait for the lease.
	if e := begin(t, s, claim("running"), idempotency.First); e.Owner != 2 {
		t.Errorf("owner number %d, want 2", e.Owner)
	}
	if err := s.Complete(t.Context(), running.ID, running.Token, idempotency.Outcome{}, 1); !errors.Is(err, idempotency.ErrLost) {
		t.Errorf("the former owner completes: %v, want ErrLost", err)
	}
}

func TestTwoProcessesMayNotShareAFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store")
	open(t, bolt.Options{Path: path})
	_, err := bolt.Open(bolt.Options{Path: path, OpenTimeout: time.Millisecond})
	if err == nil || !strings.Contains(err.Error(), "another process has it open") || !strings.Contains(err.Error(), path) {
		t.Errorf("got %v", err)
	}
}

func TestClosed(t *testing.T) {
	s := open(t, bolt.Options{Path: filepath.Join(t.TempDir(), "store")})
	c := claim("one")
	begin(t, s, c, idempotency.First)
	for range 2 {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	_, err := s.Begin(t.Context(), claim("one"))
	for verb, err := range map[string]error{
		"begin": err, "renew": s.Renew(t.Context(), c.ID, c.Token, 1), "abandon": s.Abandon(t.Context(), c.ID, c.Token),
		"complete": s.Complete(t.Context(), c.ID, c.Token, idempotency.Outcome{}, 1),
	} {
		if !errors.Is(err, idempotency.ErrClosed) {
			t.Errorf("%s: %v, want ErrClosed", verb, err)
		}
	}
}

func TestBadOptions(t *testing.T) {
	_, err := bolt.Open(bolt.Options{MaxBytes: 1, OpenTimeout: -1})
	for _, field := range []string{"Path", "MaxBytes", "OpenTimeout"} {
		if err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("got %v, want a word about %s", err, field)
		}
	}
	if _, err := bolt.Open(bolt.Options{Path: filepath.Join(t.TempDir(), "no", "folder")}); err == nil {
		t.Error("opened in a folder that does not exist")
	}
}

// A full file refuses what is new, keeps what it has, and has room again when
// the time of that is over.
func TestFull(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store")
	synctest.Test(t, func(t *testing.T) {
		s := open(t, bolt.Options{Path: path, MaxBytes: 1 << 20, NoSync: true})
		body := idempotency.Outcome{Body: make([]byte, 50_000)}
		kept := 0
		var err error
		for ; err == nil; kept++ {
			if kept > 100 {
				t.Fatal("5 MB in a file of 1 MiB")
			}
			c := claim(fmt.Sprint(kept))
			if _, err = s.Begin(t.Context(), c); err == nil {
				err = s.Complete(t.Context(), c.ID, c.Token, body, time.Hour)
			}
		}
		if kept < 5 || !errors.Is(err, idempotency.ErrFull) {
			t.Fatalf("after %d: %v, want ErrFull", kept, err)
		}
		for i := range kept - 1 {
			begin(t, s, claim(fmt.Sprint(i)), idempotency.Done)
		}
		time.Sleep(2 * time.Hour)
		for i := range 5 {
			c := claim(fmt.Sprint("later", i))
			begin(t, s, c, idempotency.First)
			if err := s.Complete(t.Context(), c.ID, c.Token, body, time.Hour); err != nil {
				t.Fatalf("there should be room again: %v", err)
			}
		}
	})
}

// One that does not fit must not take those down that go to the disk with it.
func TestTooLargeHarmsNobodyElse(t *testing.T) {
	s := open(t, bolt.Options{Path: filepath.Join(t.TempDir(), "store"), MaxBytes: 1 << 20, NoSync: true})
	errs := make(chan error)
	const n = 20
	for i := range n {
		go func() {
			c := claim(fmt.Sprint(i))
			_, err := s.Begin(t.Context(), c)
			size := 100
			if i == 0 {
				size = 2 << 20
			}
			if err == nil {
				err = s.Complete(t.Context(), c.ID, c.Token, idempotency.Outcome{Body: make([]byte, size)}, time.Hour)
			}
			if i == 0 && errors.Is(err, idempotency.ErrFull) {
				err = nil
			}
			errs <- err
		}()
	}
	for range n {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
}

// What is over leaves nothing behind, whatever happened to it on the way.
func TestNothingIsLeft(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store")
	synctest.Test(t, func(t *testing.T) {
		s := open(t, bolt.Options{Path: path, NoSync: true})
		for i := range 50 {
			c := claim(fmt.Sprint(i))
			begin(t, s, c, idempotency.First)
			time.Sleep(time.Millisecond)
			switch i % 4 {
			case 0:
				check(t, s.Complete(t.Context(), c.ID, c.Token, idempotencytest.Outcome(), time.Minute))
			case 1:
				check(t, s.Abandon(t.Context(), c.ID, c.Token))
			case 2:
				check(t, s.Renew(t.Context(), c.ID, c.Token, 2*time.Hour))
			}
		}
		time.Sleep(3 * time.Hour)
		last := claim("last") // what is over is forgotten with the next change
		begin(t, s, last, idempotency.First)
		check(t, s.Abandon(t.Context(), last.ID, last.Token))
		check(t, s.Close())
	})
	db, err := bbolt.Open(path, 0o600, nil)
	check(t, err)
	defer db.Close()
	check(t, db.View(func(tx *bbolt.Tx) error {
		return tx.ForEach(func(name []byte, b *bbolt.Bucket) error {
			if n := b.Stats().KeyN; n != 0 {
				t.Errorf("%s has %d keys left", name, n)
			}
			return nil
		})
	}))
}

func open(t *testing.T, o bolt.Options) *bolt.Store {
	t.Helper()
	s, err := bolt.Open(o)
	check(t, err)
	t.Cleanup(func() { check(t, s.Close()) })
	return s
}

func claim(name string) idempotency.Claim {
	return idempotency.Claim{
		ID: idempotency.NewID("", "", name), Token: idempotency.NewToken(), Lease: time.Minute, TTL: time.Hour,
	}
}

func begin(t *testing.T, s *bolt.Store, c idempotency.Claim, want idempotency.State) idempotency.Entry {
	t.Helper()
	e, err := s.Begin(t.Context(), c)
	check(t, err)
	if e.State != want {
		t.Fatalf("begin: %v, want %v", e.State, want)
	}
	return e
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
