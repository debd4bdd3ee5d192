package bolt_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/innermesh/innermesh/deadletter"
	"github.com/innermesh/innermesh/deadletter/bolt"
	"github.com/innermesh/innermesh/deadletter/deadlettertest"
)

func open(t *testing.T, path string, o bolt.Options) *bolt.Sink {
	t.Helper()
	s, err := bolt.Open(path, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func fill(t *testing.T, path string, n int) {
	t.Helper()
	s := open(t, path, bolt.Options{})
	for i := range n {
		l := deadlettertest.Letter(i)
		l.Body = bytes.Repeat([]byte{byte(i)}, 100*i)
		if err := s.Put(t.Context(), l); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestReopen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "letters.db")
	fill(t, path, 20)
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("the file's mode is %v, %v; want 0600", st.Mode(), err)
	}
	s := open(t, path, bolt.Options{})
	if s.Len() != 20 {
		t.Fatalf("%d letters are left of 20", s.Len())
	}
	claim := deadletter.Claim{Owner: "the dead", Lease: time.Hour, Limit: 20}
	got, err := s.Claim(t.Context(), claim)
	if err != nil || len(got) != 20 {
		t.Fatalf("claimed %d, %v", len(got), err)
	}
	got[0].Deliveries++
	if _, err := s.Update(t.Context(), got[0]); err != nil { // its lease goes to the disk with it
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, path, bolt.Options{})
	if got, err = s.Claim(t.Context(), claim); err != nil || len(got) != 20 {
		t.Errorf("after the claimant's death %d of 20 can be claimed, %v", len(got), err)
	}
}

func TestModeIsTightened(t *testing.T) {
	path := filepath.Join(t.TempDir(), "letters.db")
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	open(t, path, bolt.Options{})
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("the file's mode is %v, %v; want 0600", st.Mode(), err)
	}
}

func TestOneProcess(t *testing.T) {
	path := filepath.Join(t.TempDir(), "letters.db")
	open(t, path, bolt.Options{})
	_, err := bolt.Open(path, bolt.Options{LockWait: time.Millisecond})
	if err == nil || !strings.Contains(err.Error(), "another process") {
		t.Errorf("opened twice: %v", err)
	}
	if _, ok := errors.AsType[*bolt.CorruptError](err); ok {
		t.Error("a file in use is taken for a damaged one")
	}
}

func TestFull(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "letters.db"), bolt.Options{MaxLetters: 2, MaxSize: 10_000})
	for n := range 2 {
		if err := s.Put(t.Context(), deadlettertest.Letter(n)); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Put(t.Context(), deadlettertest.Letter(3)); !errors.Is(err, deadletter.ErrFull) {
		t.Errorf("a third letter: %v", err)
	}
	if n, err := deadletter.Discard(t.Context(), s, deadletter.Filter{IDs: []string{deadlettertest.Letter(0).ID}}); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	big := deadlettertest.Letter(4)
	big.Body = make([]byte, 10_000)
	if err := s.Put(t.Context(), big); !errors.Is(err, deadletter.ErrFull) {
		t.Errorf("more bytes than there is room for: %v", err)
	}
	if err := s.Put(t.Context(), deadlettertest.Letter(5)); err != nil {
		t.Errorf("there is room again: %v", err)
	}
}

func TestOptions(t *testing.T) {
	_, err := bolt.Open(filepath.Join(t.TempDir(), "x"), bolt.Options{MaxLetters: -1, MaxSize: -1, LockWait: -1})
	for _, field := range []string{"MaxLetters", "MaxSize", "LockWait"} {
		if err == nil || !strings.Contains(err.Error(), field+" is") {
			t.Errorf("%v does not name %s", err, field)
		}
	}
	if _, err := bolt.Open(t.TempDir(), bolt.Options{}); err == nil {
		t.Error("a directory was opened")
	} else if _, ok := errors.AsType[*bolt.CorruptError](err); ok {
		t.Error("a directory is taken for a damaged file")
	}
}

// A damaged file is refused, copied once, and its letters can be brought back.
func TestDamage(t *testing.T) {
	for name, damage := range map[string]func(t *testing.T, path string){
		"no file of ours": func(t *testing.T, path string) {
			if err := os.WriteFile(path, bytes.Repeat([]byte("poem\n"), 10_000), 0o600); err != nil {
				t.Fatal(err)
			}
		},
		"a half":    func(t *testing.T, path string) { truncate(t, path, 2) },
		"a quarter": func(t *testing.T, path string) { truncate(t, path, 4) },
		"a body": func(t *testing.T, path string) {
			overwrite(t, path, bytes.Repeat([]byte{15}, 100), []byte("damage"))
		},
		"a letter's name": func(t *testing.T, path string) {
			change(t, path, func(b *bbolt.Bucket) error {
				return errors.Join(b.Put([]byte("other"), b.Get([]byte("letter-000003"))), b.Delete([]byte("letter-000003")))
			})
		},
		"a letter less": func(t *testing.T, path string) {
			change(t, path, func(b *bbolt.Bucket) error { return b.Delete([]byte("letter-000003")) })
		},
		"pages": func(t *testing.T, path string) {
			data := read(t, path)
			for at := 4 * os.Getpagesize(); at < len(data); at += os.Getpagesize() {
				binary.BigEndian.PutUint64(data[at:], 1<<60)
			}
			if err := os.WriteFile(path, data, 0o600); err != nil {
				t.Fatal(err)
			}
		},
		"both heads": func(t *testing.T, path string) {
			data := read(t, path)
			for i := range 2 * os.Getpagesize() {
				data[i] ^= 0x55
			}
			if err := os.WriteFile(path, data, 0o600); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "letters.db")
			fill(t, path, 30)
			damage(t, path)
			before := read(t, path)
			for range 2 {
				_, err := bolt.Open(path, bolt.Options{LockWait: time.Millisecond})
				e, ok := errors.AsType[*bolt.CorruptError](err)
				if !ok {
					t.Fatalf("got %v", err)
				}
				if !bytes.Equal(read(t, e.Copy), before) || !bytes.Equal(read(t, path), before) {
					t.Errorf("the copy at %q, or the file itself, differs from what was found", e.Copy)
				}
				t.Log(err)
			}
			if files, _ := filepath.Glob(path + ".corrupt-*"); len(files) != 1 {
				t.Errorf("copies: %v", files)
			}
		})
	}
}

// Whatever bits are turned: either the letters are all there, or the file is
// refused.
func TestDamageAtRandom(t *testing.T) {
	path := filepath.Join(t.TempDir(), "letters.db")
	fill(t, path, 30)
	whole := read(t, path)
	rounds := 100
	if testing.Short() {
		rounds = 20
	}
	for range rounds {
		seed := rand.Uint64()
		r := rand.New(rand.NewPCG(seed, 0))
		data := bytes.Clone(whole)
		for range 1 + r.IntN(8) {
			data[r.IntN(len(data))] ^= 1 << r.IntN(8)
		}
		if r.IntN(4) == 0 {
			data = data[:r.IntN(len(data))]
		}
		path := filepath.Join(t.TempDir(), "letters.db")
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := bolt.Open(path, bolt.Options{LockWait: time.Millisecond})
		if err != nil {
			if _, ok := errors.AsType[*bolt.CorruptError](err); !ok && !errors.Is(err, deadletter.ErrVersion) {
				t.Errorf("seed %d: %v", seed, err)
			}
			continue
		}
		if s.Len() != 30 && len(data) > 0 {
			t.Errorf("seed %d: %d of 30 letters, and no error", seed, s.Len())
		}
		_ = s.Close()
	}
}

func TestSalvage(t *testing.T) {
	path := filepath.Join(t.TempDir(), "letters.db")
	fill(t, path, 30)
	data := read(t, path)
	for i := range 2 * os.Getpagesize() {
		data[i] = 0
	}
	overwriteBytes(t, data, bytes.Repeat([]byte{15}, 100), []byte("damage"))
	got := deadletter.Salvage(data)
	found := map[string]deadletter.Letter{}
	for _, l := range got {
		found[l.ID] = l
	}
	for n := range 30 {
		l := deadlettertest.Letter(n)
		if _, ok := found[l.ID]; !ok && n != 15 {
			t.Errorf("%s is lost", l.ID)
		} else if ok && !bytes.Equal(found[l.ID].Body, bytes.Repeat([]byte{byte(n)}, 100*n)) {
			t.Errorf("%s came back with another body", l.ID)
		}
	}
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func truncate(t *testing.T, path string, parts int64) {
	t.Helper()
	if err := os.Truncate(path, int64(len(read(t, path)))/parts); err != nil {
		t.Fatal(err)
	}
}

func overwrite(t *testing.T, path string, what, by []byte) {
	t.Helper()
	data := read(t, path)
	overwriteBytes(t, data, what, by)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func overwriteBytes(t *testing.T, data, what, by []byte) {
	t.Helper()
	n := 0
	for at := 0; ; n++ { // the freed pages have it too
		i := bytes.Index(data[at:], what)
		if i < 0 {
			break
		}
		copy(data[at+i:], by)
		at += i + len(what)
	}
	if n == 0 {
		t.Fatalf("%x is not there", what)
	}
}

func change(t *testing.T, path string, do func(*bbolt.Bucket) error) {
	t.Helper()
	db, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bbolt.Tx) error { return do(tx.Bucket([]byte("letters"))) })
	if err = errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
}
