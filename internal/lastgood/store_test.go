package lastgood

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestPutAndGet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFolder(t)
		s := f.open(t, Options{})
		if _, _, ok := s.Get("instances", "stock"); ok {
			t.Error("there is a state, and nobody stored one")
		}
		begin := time.Now()
		s.Put("instances", "stock", []byte("one\n\x00two"))
		want(t, s, "instances", "stock", "one\n\x00two")
		time.Sleep(time.Minute)
		want(t, s, "instances", "stock", "one\n\x00two")
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}

		later := f.open(t, Options{})
		if _, saved, _ := later.Get("instances", "stock"); !saved.Equal(begin) {
			t.Errorf("saved at %s, want %s", saved, begin)
		}
		want(t, later, "instances", "stock", "one\n\x00two")
		for _, other := range []thing{{"instances", "Stock"}, {"policy", "stock"}, {"instances", ""}, {"instancess", "tock"}} {
			if _, _, ok := later.Get(other.kind, other.key); ok {
				t.Errorf("%v has the state of another", other)
			}
		}
		f.logged(t)
	})
}

// Of what comes quickly the last is written, at most once a second.
func TestPutCoalesces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFolder(t)
		s, reader := f.open(t, Options{}), f.open(t, Options{})
		writes, last := 0, ""
		for i := range 100 {
			s.Put("instances", "stock", fmt.Append(nil, i))
			synctest.Wait()
			if data, _, _ := reader.Get("instances", "stock"); string(data) != last {
				writes, last = writes+1, string(data)
			}
			if i == 5 && last != "0" {
				t.Errorf("after half a second %q is stored, want the first", last)
			}
			time.Sleep(100 * time.Millisecond)
		}
		if writes != 10 {
			t.Errorf("%d writes in ten seconds", writes)
		}
		time.Sleep(time.Second)
		want(t, reader, "instances", "stock", "99")
	})
}

// Things do not wait for one another.
func TestPutOfMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFolder(t)
		s, reader := f.open(t, Options{}), f.open(t, Options{})
		for i := range 50 {
			s.Put("instances", fmt.Sprint(i), fmt.Append(nil, i))
		}
		synctest.Wait()
		for i := range 50 {
			want(t, reader, "instances", fmt.Sprint(i), fmt.Sprint(i))
		}
	})
}

func TestPutOfTheSameWritesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFolder(t)
		s := f.open(t, Options{})
		for range 3 {
			s.Put("instances", "stock", []byte("same"))
			time.Sleep(2 * time.Second)
			if err := os.RemoveAll(f.dir); err != nil { // another write would bring it back
				t.Fatal(err)
			}
		}
		s.Put("instances", "stock", []byte("other"))
		synctest.Wait()
		want(t, f.open(t, Options{}), "instances", "stock", "other")
	})
}

func TestCloseFlushes(t *testing.T) {
	f := newFolder(t)
	s := f.open(t, Options{Every: time.Hour})
	for i := range 10 {
		s.Put("instances", "stock", fmt.Append(nil, i))
		s.Put("policy", "stock", fmt.Append(nil, -i))
	}
	if err := errors.Join(s.Close(), s.Close()); err != nil {
		t.Fatal(err)
	}
	s.Put("instances", "stock", []byte("too late"))
	later := f.open(t, Options{})
	want(t, later, "instances", "stock", "9")
	want(t, later, "policy", "stock", "-9")
}

func TestForeign(t *testing.T) {
	for name, test := range map[string]struct {
		ours, theirs Options
		log          string // "": they do not meet at all
	}{
		"another service":     {Options{Service: "checkout"}, Options{Service: "stock"}, ""},
		"another fingerprint": {Options{Fingerprint: "v2"}, Options{Fingerprint: "v1"}, `fingerprint .*v1.*wanted.*v2`},
		"ours":                {Options{Fingerprint: "v2"}, Options{Fingerprint: "v2"}, "none"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFolder(t)
			theirs := f.open(t, test.theirs)
			theirs.Put("instances", "stock", []byte("theirs"))
			if err := theirs.Close(); err != nil {
				t.Fatal(err)
			}
			ours := f.open(t, test.ours)
			if test.log == "none" {
				want(t, ours, "instances", "stock", "theirs")
				return
			}
			if data, _, ok := ours.Get("instances", "stock"); ok {
				t.Errorf("got %q", data)
			}
			if test.log != "" {
				f.logged(t, "ignored.*foreign.*"+test.log)
			} else {
				f.logged(t)
			}
			ours.Put("instances", "stock", []byte("ours"))
			if err := ours.Close(); err != nil {
				t.Fatal(err)
			}
			want(t, f.open(t, test.ours), "instances", "stock", "ours")
		})
	}
}

// Whatever lies in place of a file is ignored with one line, and replaced.
func TestIgnored(t *testing.T) {
	put := func(content []byte) func(path string, was []byte) error {
		return func(path string, _ []byte) error { return os.WriteFile(path, content, 0o600) }
	}
	change := func(f func(was []byte) []byte) func(path string, was []byte) error {
		return func(path string, was []byte) error { return os.WriteFile(path, f(was), 0o600) }
	}
	for name, test := range map[string]struct {
		spoil func(path string, was []byte) error
		log   string
	}{
		"empty":           {put(nil), "corrupt"},
		"noise":           {put([]byte("noise")), "corrupt"},
		"cut":             {change(func(was []byte) []byte { return was[:len(was)-1] }), "checksum"},
		"cut early":       {change(func(was []byte) []byte { return was[:len(magic)] }), "corrupt"},
		"more":            {change(func(was []byte) []byte { return append(was, 'x') }), "checksum"},
		"a bit":           {change(func(was []byte) []byte { was[len(was)-3] ^= 1; return was }), "checksum"},
		"version":         {change(func(was []byte) []byte { return bytes.Replace(was, []byte("version 1"), []byte("version 2"), 1) }), "foreign"},
		"too large":       {func(path string, _ []byte) error { return os.Truncate(path, int64(maxFile)+1) }, "too large"},
		"a folder":        {func(path string, _ []byte) error { return errors.Join(os.Remove(path), os.Mkdir(path, 0o700)) }, "not a regular file"},
		"another's state": {func(path string, _ []byte) error { return os.Rename(filepath.Join(filepath.Dir(path), "other"), path) }, "foreign"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFolder(t)
			s := f.open(t, Options{})
			s.Put("instances", "stock", []byte("good"))
			s.Put("instances", "other", []byte("other"))
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			path := s.path(thing{"instances", "stock"})
			if err := os.Rename(s.path(thing{"instances", "other"}), filepath.Join(f.dir, "other")); err != nil {
				t.Fatal(err)
			}
			was, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := test.spoil(path, was); err != nil {
				t.Fatal(err)
			}
			s = f.open(t, Options{})
			if data, saved, ok := s.Get("instances", "stock"); ok || data != nil || !saved.IsZero() {
				t.Errorf("got %q of %s", data, saved)
			}
			f.logged(t, "ignored.*"+test.log)
			if name == "a folder" {
				return
			}
			s.Put("instances", "stock", []byte("new"))
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			want(t, f.open(t, Options{}), "instances", "stock", "new")
		})
	}
}

// A disk that can not be written is told of once, tried again, and told of once
// more when it can.
func TestDiskFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFolder(t)
		s := f.open(t, Options{})
		broken := func() { // for root too, which may write everywhere
			if err := errors.Join(os.RemoveAll(f.dir), os.WriteFile(f.dir, nil, 0o600)); err != nil {
				t.Fatal(err)
			}
		}
		broken()
		for i := range 100 {
			s.Put("instances", "stock", fmt.Append(nil, i))
			s.Put("policy", "stock", fmt.Append(nil, i))
			time.Sleep(time.Second)
		}
		want(t, s, "instances", "stock", "99")
		f.logged(t, "can not be kept")
		if err := os.Remove(f.dir); err != nil {
			t.Fatal(err)
		}
		time.Sleep(again)
		reader := f.open(t, Options{})
		want(t, reader, "instances", "stock", "99")
		want(t, reader, "policy", "stock", "99")
		f.logged(t, "can not be kept", "kept on disk again")
		broken()
		s.Put("instances", "stock", []byte("last"))
		if err := s.Close(); err == nil || !strings.Contains(err.Error(), `instances "stock"`) {
			t.Errorf("closed with %v", err)
		}
	})
}

func TestTooLarge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFolder(t)
		s := f.open(t, Options{})
		s.Put("instances", "stock", []byte("good"))
		time.Sleep(2 * time.Second)
		s.Put("instances", "stock", make([]byte, maxData+1))
		s.Put("instances", strings.Repeat("x", maxHeader), []byte("good"))
		time.Sleep(time.Hour)
		want(t, s, "instances", "stock", "good")
		f.logged(t, "too large")
		s.Put("instances", "stock", []byte("better"))
		time.Sleep(time.Minute)
		want(t, s, "instances", "stock", "better")
	})
}

// Several processes in one folder: each reader gets what one of them wrote, as
// a whole.
func TestManyInOneFolder(t *testing.T) {
	f := newFolder(t)
	var writers, readers sync.WaitGroup
	stop := make(chan struct{})
	first := f.open(t, Options{})
	first.Put("instances", "stock", payload(0))
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		s := f.open(t, Options{Every: time.Nanosecond})
		writers.Go(func() {
			for n := range 30 {
				s.Put("instances", "stock", payload(n))
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				data, _, ok := first.Get("instances", "stock")
				if _, err := number(data); !ok || err != nil {
					t.Error(ok, err)
					return
				}
			}
		})
	}
	writers.Wait()
	close(stop)
	readers.Wait()
	f.logged(t)
}

func TestModes(t *testing.T) {
	f := newFolder(t)
	s := f.open(t, Options{})
	s.Put("../../etc", "a/b\x00:\\\xff"+strings.Repeat("é", 300), []byte("x"))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	want(t, f.open(t, Options{}), "../../etc", "a/b\x00:\\\xff"+strings.Repeat("é", 300), "x")
	files, err := os.ReadDir(f.dir)
	if err != nil || len(files) != 1 {
		t.Fatalf("%d files: %v", len(files), err)
	}
	for path, want := range map[string]os.FileMode{f.dir: 0o700, filepath.Join(f.dir, files[0].Name()): 0o600} {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != want {
			t.Errorf("%s has mode %o, want %o", path, got, want)
		}
	}
}

// What a killed process has left is removed, but not what a living one writes.
func TestSweep(t *testing.T) {
	f := newFolder(t)
	if err := f.open(t, Options{}).Close(); err != nil {
		t.Fatal(err)
	}
	name := fileName("a", "b", "c")
	for file, age := range map[string]time.Duration{
		name + ".X" + temporary: 2 * forgotten, name + ".Y" + temporary: forgotten / 2, name: 2 * forgotten, "mine.tmp": 2 * forgotten,
	} {
		path, when := filepath.Join(f.dir, file), time.Now().Add(-age)
		if err := errors.Join(os.WriteFile(path, nil, 0o600), os.Chtimes(path, when, when)); err != nil {
			t.Fatal(err)
		}
	}
	f.open(t, Options{})
	left, err := os.ReadDir(f.dir)
	if err != nil || len(left) != 3 {
		t.Errorf("left are %v: %v", left, err)
	}
	if _, err := os.Stat(filepath.Join(f.dir, name+".X"+temporary)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the old one is still there: %v", err)
	}
}

func TestOpenRefuses(t *testing.T) {
	_, err := Open("", Options{Every: -1})
	for _, field := range []string{"dir:", "Service:", "Every:"} {
		if err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("got %v, want %s in it", err, field)
		}
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(file, Options{Service: "checkout"}); err == nil {
		t.Error("a file is taken for a folder")
	}
}

func want(t *testing.T, s *Store, kind, key, want string) {
	t.Helper()
	data, saved, ok := s.Get(kind, key)
	if !ok || string(data) != want || saved.IsZero() {
		t.Errorf("got %.60q of %s, %v, want %.60q", data, saved, ok, want)
	}
}

// folder is where a test's stores are, and what they log.
type folder struct {
	dir string
	mu  sync.Mutex
	log bytes.Buffer
}

func newFolder(t *testing.T) *folder {
	return &folder{dir: filepath.Join(t.TempDir(), "new", "states")}
}

func (f *folder) open(t *testing.T, o Options) *Store {
	t.Helper()
	if o.Service == "" {
		o.Service = "checkout"
	}
	o.Log = slog.New(slog.NewTextHandler(f, nil))
	s, err := Open(f.dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() }) // what it says is looked at where it matters
	return s
}

func (f *folder) Write(line []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.log.Write(line)
}

// logged wants these lines in the log and no others.
func (f *folder) logged(t *testing.T, patterns ...string) {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	lines := strings.Split(strings.TrimSpace(f.log.String()), "\n")
	if len(patterns) == 0 && f.log.Len() == 0 {
		return
	}
	if len(lines) != len(patterns) {
		t.Errorf("%d lines in the log, want %d: %q", len(lines), len(patterns), lines)
		return
	}
	for i, p := range patterns {
		if !regexp.MustCompile(p).MatchString(lines[i]) {
			t.Errorf("logged %q, want %q", lines[i], p)
		}
	}
}
