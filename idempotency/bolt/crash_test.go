package bolt_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/innermesh/innermesh/idempotency"
	"github.com/innermesh/innermesh/idempotency/bolt"
	"github.com/innermesh/innermesh/internal/crashtest"
)

// crashDir makes the test binary the program that TestCrash kills.
const crashDir = "INNERMESH_IDEMPOTENCY_CRASH"

// The two ways in which a server may treat an operation whose outcome a crash
// has swallowed.
const (
	once     = "/once"     // Lapsed: Refuse. An effect happens at most once
	recorded = "/recorded" // Lapsed: Rerun, and the handler records the key with its effect: exactly once
)

// TestCrash kills a program that answers calls with keys, again and again, at
// random points, while its callers repeat each call until they know how it
// ended. No effect may happen twice, none that was answered may be missing, and a
// repeat is always answered as the first was.
func TestCrash(t *testing.T) {
	if dir := os.Getenv(crashDir); dir != "" {
		crashChild(dir)
		return
	}
	dir, err := os.MkdirTemp("", "idem") //nolint:usetesting // a socket's name must be short, on every system
	check(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	check(t, os.Mkdir(filepath.Join(dir, "effects"), 0o700))
	check(t, addLine(filepath.Join(dir, "line")))

	stop := make(chan struct{})
	var wg sync.WaitGroup
	all := make([]*customer, 6)
	for i := range all {
		all[i] = newCustomer(t, dir, i)
		wg.Go(func() { all[i].shop(stop) })
	}
	killed := 0
	for range crashtest.Rounds(t, 10*time.Second) {
		end := serveUntilKilled(t, dir)
		crashtest.Pause(t, 40*time.Millisecond)
		end()
		killed++
	}
	close(stop) // everyone ends the call at hand
	end := serveUntilKilled(t, dir)
	wg.Wait()
	var calls, unknown int
	for _, c := range all {
		c.verify()
		calls, unknown = calls+len(c.answers), unknown+c.unknown
	}
	end()
	t.Logf("%d kills, %d calls answered, %d of unknown outcome", killed, calls, unknown)
	if calls == 0 {
		t.Error("no call was ever answered")
	}
}

// customer makes one call after the other.
type customer struct {
	t       *testing.T
	dir     string
	number  int
	client  *http.Client
	answers map[string]string // by path and key
	unknown int
}

func newCustomer(t *testing.T, dir string, number int) *customer {
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(dir, "socket"))
	}}
	t.Cleanup(transport.CloseIdleConnections)
	return &customer{
		t: t, dir: dir, number: number, answers: map[string]string{}, client: &http.Client{Transport: transport, Timeout: 20 * time.Second},
	}
}

func (c *customer) shop(stop chan struct{}) {
	for i := 0; ; i++ {
		select {
		case <-stop:
			return
		default:
		}
		path := []string{once, recorded}[i%2]
		key := fmt.Sprintf("%d-%d", c.number, i)
		answer, ok := c.call(path, key)
		if !ok {
			c.unknown++
			continue
		}
		c.answers[path+" "+key] = answer
	}
}

// call makes a call until its outcome is known. Not ok is one that nobody knows.
func (c *customer) call(path, key string) (answer string, ok bool) {
	for giveUp := time.Now().Add(time.Minute); ; pass(2 * time.Millisecond) {
		if time.Now().After(giveUp) {
			c.t.Errorf("%s %s has no end", path, key)
			return "", false
		}
		req, err := http.NewRequestWithContext(context.Background(), http.MethodPost, "http://shop"+path, strings.NewReader(key))
		if err != nil {
			c.t.Error(err)
			return "", false
		}
		req.Header.Set(idempotency.Header, idempotency.FormatKey(key))
		res, err := c.client.Do(req)
		if err != nil {
			continue
		}
		body, err := io.ReadAll(res.Body)
		_ = res.Body.Close()
		switch {
		case err != nil, res.StatusCode == http.StatusServiceUnavailable:
		case res.StatusCode == http.StatusOK:
			return string(body), true
		case res.StatusCode == http.StatusConflict && path == once && res.Header.Get("Retry-After") == "":
			return "", false
		case res.StatusCode != http.StatusConflict:
			c.t.Errorf("%s %s: %s: %s", path, key, res.Status, body)
			return "", false
		}
	}
}

// verify looks at all effects, and repeats some calls.
func (c *customer) verify() {
	for call, answer := range c.answers {
		path, key, _ := strings.Cut(call, " ")
		effects, err := os.ReadFile(filepath.Join(c.dir, "effects", key))
		if n := bytes.Count(effects, []byte("\n")); err != nil || n != 1 {
			c.t.Errorf("%s was answered with %q and has happened %d times: %v", call, answer, n, err)
		}
		if rand.IntN(8) != 0 {
			continue
		}
		if again, ok := c.call(path, key); !ok || again != answer {
			c.t.Errorf("%s: answered with %q, then with %q", call, answer, again)
		}
	}
	made, err := filepath.Glob(filepath.Join(c.dir, "effects", fmt.Sprint(c.number)+"-*"))
	if err != nil {
		c.t.Error(err)
	}
	for _, path := range made {
		// Killed between creating and writing, the file has no line: not yet an effect.
		if effects, err := os.ReadFile(path); err != nil || bytes.Count(effects, []byte("\n")) > 1 {
			c.t.Errorf("effect %s: %q, %v", filepath.Base(path), effects, err)
		}
	}
}

// serveUntilKilled starts the program; end kills it.
func serveUntilKilled(t *testing.T, dir string) (end func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestCrash$")
	cmd.Env = append(os.Environ(), crashDir+"="+dir)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdin, err := cmd.StdinPipe() // whose end is the child's, should the test be killed
	check(t, err)
	stdout, err := cmd.StdoutPipe()
	check(t, err)
	check(t, cmd.Start())
	if _, err := io.ReadFull(stdout, make([]byte, 1)); err != nil {
		t.Errorf("the program does not come up: %v\n%s", err, &stderr)
	}
	return func() {
		cancel() // by SIGKILL
		_ = cmd.Wait()
		_ = stdin.Close()
	}
}

// crashChild is the program: a server whose effects are files.
func crashChild(dir string) {
	err := func() error {
		s, err := bolt.Open(bolt.Options{Path: filepath.Join(dir, "store"), NoSync: true}) // a process that dies loses nothing either way
		if err != nil {
			return err
		}
		socket := filepath.Join(dir, "socket")
		if err := os.Remove(socket); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		mux := http.NewServeMux()
		for path, lapsed := range map[string]idempotency.Lapsed{once: idempotency.Refuse, recorded: idempotency.Rerun} {
			g, err := idempotency.New(idempotency.Options{Store: s, Lapsed: lapsed, Logger: slog.New(slog.DiscardHandler)})
			if err != nil {
				return err
			}
			mux.Handle(path, g.Middleware(effect(dir, path)))
		}
		l, err := net.Listen("unix", socket)
		if err != nil {
			return err
		}
		go func() {
			_, _ = io.Copy(io.Discard, os.Stdin)
			os.Exit(1)
		}()
		fmt.Print(".")
		return http.Serve(l, mux)
	}()
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// effect adds a line to the file of a key. Where the key is recorded with its
// effect, the file's being there says that it has happened: a link is made with
// the line or not at all.
func effect(dir, path string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		key := idempotency.KeyFrom(r.Context())
		pass(time.Duration(rand.IntN(1000)) * time.Microsecond)
		var err error
		if name := filepath.Join(dir, "effects", key); path == recorded {
			err = os.Symlink(filepath.Join(dir, "line"), name)
			if errors.Is(err, os.ErrExist) {
				err = nil
			}
		} else {
			err = addLine(name)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		pass(time.Duration(rand.IntN(1000)) * time.Microsecond)
		_, _ = fmt.Fprintf(w, "%s as number %d", key, rand.Int())
	})
}

func addLine(name string) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString("done\n")
	return errors.Join(err, f.Close())
}

// pass lets time pass.
func pass(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	<-t.C
}
