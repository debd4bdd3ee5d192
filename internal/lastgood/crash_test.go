package lastgood

import (
	"bufio"
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"
)

// crashing tells a process that runs this test again to write in its folder until
// it is killed.
const crashing = "INNERMESH_LASTGOOD_CRASH"

// TestCrash kills a process while it writes: whatever the moment, the file is
// whole, and holds the last state that was told to be stored or a newer one.
func TestCrash(t *testing.T) {
	f := newFolder(t)
	rounds := 12
	if testing.Short() {
		rounds = 5
	}
	if err := os.MkdirAll(f.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for round := range rounds {
		told := crash(t, f.dir, 1+round%7)
		s := f.open(t, Options{Service: "crash"})
		for key, least := range told {
			data, _, ok := s.Get("state", key)
			n, err := number(data)
			if !ok || err != nil || n < least {
				t.Fatalf("round %d: %s is %d, want at least %d: %v, %v", round, key, n, least, ok, err)
			}
		}
	}
	f.logged(t)
}

// crash runs the writer, kills it once it has told of some states, and returns
// the last it told of.
func crash(t *testing.T, dir string, lines int) (told map[string]int) {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	writer := exec.CommandContext(t.Context(), program)
	writer.Dir, writer.Env = dir, append(os.Environ(), crashing+"=1")
	out, err := writer.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := writer.Start(); err != nil {
		t.Fatal(err)
	}
	told = make(map[string]int)
	for scan := bufio.NewScanner(out); scan.Scan(); {
		key, n, _ := strings.Cut(scan.Text(), " ")
		if told[key], err = strconv.Atoi(n); err != nil {
			t.Fatalf("the writer says %q", scan.Text())
		}
		if lines--; lines == 0 {
			if err := writer.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := writer.Wait(); err == nil {
		t.Fatal("the writer ended by itself")
	}
	return told
}

// writeForEver is what the process does that is killed.
func writeForEver() {
	s, err := Open(".", Options{Service: "crash", Every: time.Nanosecond, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	names := []thing{{"state", "a"}, {"state", "b"}}
	for n := 0; ; n++ {
		for _, name := range names {
			if err := s.store(name, snapshot{payload(n), time.Now()}); err != nil {
				fmt.Println(err)
				os.Exit(1)
			}
			fmt.Println(name.key, n)
		}
	}
}

// payload is a state that knows its number and is long enough to be caught half
// written.
func payload(n int) []byte {
	return append(fmt.Appendf(nil, "%d:", n), bytes.Repeat([]byte{byte(n)}, 300_000+n%1000)...)
}

func number(data []byte) (int, error) {
	text, rest, _ := bytes.Cut(data, []byte(":"))
	n, err := strconv.Atoi(string(text))
	if err != nil {
		return 0, err
	}
	if !bytes.Equal(data, payload(n)) {
		return 0, fmt.Errorf("state %d has %d bytes, which are not its own", n, len(rest))
	}
	return n, nil
}
