package bolt_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/innermesh/innermesh/idempotency"
	"github.com/innermesh/innermesh/idempotency/bolt"
)

// A file that something else has spoiled is trouble for those who ask, and not
// the end of the program.
func TestSpoiledFile(t *testing.T) {
	for name, spoil := range map[string]func(*os.File, int64) error{
		"cut short": func(f *os.File, _ int64) error { return f.Truncate(0) },
		"overwritten": func(f *os.File, n int64) error {
			_, err := f.WriteAt(bytes.Repeat([]byte{0xa5}, int(n)), 0)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "store")
			s, err := bolt.Open(bolt.Options{Path: path})
			check(t, err)
			defer s.Close() // may complain
			for i := range 100 {
				c := claim(fmt.Sprint(i))
				begin(t, s, c, idempotency.First)
				check(t, s.Complete(t.Context(), c.ID, c.Token, idempotency.Outcome{Body: make([]byte, 1000)}, time.Hour))
			}
			f, err := os.OpenFile(path, os.O_RDWR, 0)
			check(t, err)
			info, err := f.Stat()
			check(t, err)
			check(t, spoil(f, info.Size()))
			check(t, f.Close())
			if _, err := s.Begin(t.Context(), claim("1")); !errors.Is(err, idempotency.ErrCorrupt) {
				t.Errorf("begin what was done: %v, want ErrCorrupt", err)
			}
			if _, err := s.Begin(t.Context(), claim("new")); !errors.Is(err, idempotency.ErrCorrupt) {
				t.Errorf("begin: %v, want ErrCorrupt", err)
			}
			if err := s.Abandon(t.Context(), idempotency.ID{}, idempotency.Token{}); err == nil {
				t.Error("abandon: no error")
			}
		})
	}
}

func TestOpenOfSomethingElse(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store")
	check(t, os.WriteFile(path, bytes.Repeat([]byte("not a database\n"), 10_000), 0o600))
	if _, err := bolt.Open(bolt.Options{Path: path}); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("got %v", err)
	}
}

// childEnv makes the test binary the child of TestKilled.
const childEnv = "INNERMESH_TEST_BOLT_CHILD"

// TestKilled kills a process again and again while it carries out operations.
// Whatever it has told is there afterwards; what it had begun may be taken over
// at once, and nobody finds the file spoiled.
func TestKilled(t *testing.T) {
	if path := os.Getenv(childEnv); path != "" {
		child(t, path)
		return
	}
	rounds := 20
	if testing.Short() {
		rounds = 5
	}
	path := filepath.Join(t.TempDir(), "store")
	told, n := map[string]bool{}, 0
	for round := range rounds {
		for key := range kill(t, path, fmt.Sprint(round), 5+7*round%40) {
			told[key] = true
			n++
		}
		s, err := bolt.Open(bolt.Options{Path: path})
		check(t, err)
		for key := range told {
			begin(t, s, claim(key), idempotency.Done)
		}
		// The child was carrying out the next one, or was about to.
		next := claim(fmt.Sprint(round, "-", len(told)))
		if e, err := s.Begin(t.Context(), next); err != nil || e.State == idempotency.Running {
			t.Errorf("begin what was under way: %v, %v", e.State, err)
		}
		check(t, s.Close())
	}
	t.Logf("%d outcomes survived %d kills", n, rounds)
}

// kill runs a child, kills it after it has told of so many operations, and
// returns all of those.
func kill(t *testing.T, path, round string, after int) map[string]bool {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestKilled$", "-test.v=false")
	cmd.Env = append(os.Environ(), childEnv+"="+path, childEnv+"_ROUND="+round)
	out, err := cmd.StdoutPipe()
	check(t, err)
	check(t, cmd.Start())
	told := map[string]bool{}
	var line []byte
	for one := make([]byte, 1); ; {
		if _, err := io.ReadFull(out, one); err != nil {
			break
		}
		if one[0] != '\n' {
			line = append(line, one[0])
			continue
		}
		told[string(line)] = true
		line = line[:0]
		if len(told) == after {
			cancel() // by SIGKILL; what it has told until then counts too
		}
	}
	_ = cmd.Wait()
	if len(told) < after {
		t.Fatalf("the child ended by itself after %d operations", len(told))
	}
	return told
}

// child carries out one operation after the other, and tells of each.
func child(t *testing.T, path string) {
	s, err := bolt.Open(bolt.Options{Path: path, NoSync: true}) // a process that dies loses nothing either way
	check(t, err)
	for i := 0; ; i++ {
		name := os.Getenv(childEnv+"_ROUND") + "-" + fmt.Sprint(i)
		c := claim(name)
		begin(t, s, c, idempotency.First)
		check(t, s.Complete(t.Context(), c.ID, c.Token, idempotency.Outcome{Body: make([]byte, 3000)}, time.Hour))
		fmt.Println(name)
	}
}
