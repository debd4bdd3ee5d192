package bolt_test

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.etcd.io/bbolt"
	"go.uber.org/goleak"

	"github.com/innermesh/innermesh/saga"
	"github.com/innermesh/innermesh/saga/bolt"
	"github.com/innermesh/innermesh/saga/sagatest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestContract(t *testing.T) {
	var path string
	sagatest.Run(t, sagatest.Harness{
		Open: func(t *testing.T) saga.Log {
			path = filepath.Join(t.TempDir(), "sagas")
			return open(t, bolt.Options{Path: path, NoSync: true})
		},
		Advance: func(_ *testing.T, d time.Duration) { <-time.After(d) },
		Within:  synctest.Test,
	})
}

// What was acknowledged is there after a reopening, and nobody's.
func TestReopened(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sagas")
	l := open(t, bolt.Options{Path: path})
	for _, id := range []string{"one", "two"} {
		check(t, l.Create(t.Context(), sagatest.Record(id), time.Hour))
	}
	ended := sagatest.Record("ended")
	ended.Status, ended.Ended = saga.Completed, time.Now().UTC()
	check(t, l.Create(t.Context(), ended, 0))
	check(t, l.Close())

	l = open(t, bolt.Options{Path: path})
	got, err := l.Claim(t.Context(), saga.Claim{Owner: "next", Lease: time.Minute, Limit: 10})
	check(t, err)
	if len(got) != 2 || got[0].Token != 2 {
		t.Fatalf("claimed %v, want both, with new tokens", got)
	}
	check(t, l.Close())
	l = open(t, bolt.Options{Path: path})
	got, err = l.Claim(t.Context(), saga.Claim{Owner: "third", Lease: time.Minute, Limit: 10})
	check(t, err)
	if len(got) != 2 || got[0].Token != 3 {
		t.Fatalf("claimed %v: a token was given twice", got)
	}
	p, err := l.List(t.Context(), saga.Query{})
	if check(t, err); len(p.Sagas) != 3 {
		t.Errorf("%d sagas are left", len(p.Sagas))
	}
}

func TestTwoProcessesMayNotShareAFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sagas")
	open(t, bolt.Options{Path: path})
	_, err := bolt.Open(bolt.Options{Path: path, OpenTimeout: time.Millisecond})
	if err == nil || !strings.Contains(err.Error(), "another process has it open") {
		t.Errorf("got %v", err)
	}
}

func TestClosed(t *testing.T) {
	l := open(t, bolt.Options{Path: filepath.Join(t.TempDir(), "sagas")})
	check(t, l.Create(t.Context(), sagatest.Record("one"), 0))
	check(t, l.Close())
	_, listed := l.List(t.Context(), saga.Query{})
	_, claimed := l.Claim(t.Context(), saga.Claim{Owner: "x", Lease: time.Minute})
	_, expired := l.Expire(t.Context(), time.Now(), 1)
	for verb, err := range map[string]error{
		"create": l.Create(t.Context(), sagatest.Record("two"), 0), "save": l.Save(t.Context(), sagatest.Record("one"), 0),
		"list": listed, "claim": claimed, "expire": expired, "close": l.Close(),
	} {
		if want := saga.ErrClosed; verb != "close" && !errors.Is(err, want) || verb == "close" && err != nil {
			t.Errorf("%s: %v, want %v", verb, err, want)
		}
	}
}

func TestBadOptions(t *testing.T) {
	_, err := bolt.Open(bolt.Options{OpenTimeout: -1})
	for _, field := range []string{"Path", "OpenTimeout"} {
		if err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("got %v, want a word about %s", err, field)
		}
	}
	if _, err := bolt.Open(bolt.Options{Path: filepath.Join(t.TempDir(), "no", "folder")}); err == nil {
		t.Error("opened in a folder that does not exist")
	}
}

// A record that is damaged is told with its ID, and set aside if asked to; the
// others go on.
func TestDamaged(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sagas")
	l := open(t, bolt.Options{Path: path})
	for _, id := range []string{"hurt", "well"} {
		check(t, l.Create(t.Context(), sagatest.Record(id), 0))
	}
	check(t, l.Close())
	db, err := bbolt.Open(path, 0o600, nil)
	check(t, err)
	check(t, db.Update(func(tx *bbolt.Tx) error {
		b := tx.Bucket([]byte("saga.open.1"))
		data := append([]byte(nil), b.Get([]byte("hurt"))...)
		data[len(data)/2] ^= 1
		return b.Put([]byte("hurt"), data)
	}))
	check(t, db.Close())
	if _, err := bolt.Open(bolt.Options{Path: path}); !errors.Is(err, saga.ErrCorrupt) || !strings.Contains(err.Error(), `"hurt"`) {
		t.Fatalf("got %v, want ErrCorrupt about the saga that is hurt", err)
	}
	l = open(t, bolt.Options{Path: path, SetAside: true})
	p, err := l.List(t.Context(), saga.Query{})
	if check(t, err); len(p.Sagas) != 1 || p.Sagas[0].ID != "well" {
		t.Errorf("got %v", p.Sagas)
	}
	aside, err := l.Aside()
	if check(t, err); len(aside) != 1 || aside["hurt"] == nil {
		t.Errorf("set aside: %v", aside)
	}
}

func open(t *testing.T, o bolt.Options) *bolt.Log {
	t.Helper()
	l, err := bolt.Open(o)
	check(t, err)
	t.Cleanup(func() { check(t, l.Close()) })
	return l
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
