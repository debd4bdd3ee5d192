package drill

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// child is another process as its parent sees it.
type child struct {
	id    string
	cmd   *exec.Cmd
	stdin io.WriteCloser // its end tells the child to leave; it comes with the parent's, too
	said  chan string    // lines; it says few
	ended chan struct{}
	err   error // how it ended

	health string // of a member: where it tells how it is
}

// begin starts a backend and returns when it is registered. It ends with the
// test at the latest.
func begin(t *testing.T, s *stage, id string) *child {
	t.Helper()
	return beginOf(t, s, s.service, id)
}

// beginOf starts a backend of another service than the one that is called.
func beginOf(t *testing.T, s *stage, service, id string) *child {
	t.Helper()
	c := launch(t, id, backendEnv+"="+id, agentEnv+"="+s.gate.addr, serviceEnv+"="+service)
	if line := c.line(t); line != "registered" {
		t.Fatalf("backend %s did not get as far as being registered: %q", id, line)
	}
	return c
}

// launch starts this test's own binary as another process, which ends with the
// test at the latest.
func launch(t *testing.T, id string, env ...string) *child {
	t.Helper()
	return launchIn(t, id, nil, env...)
}

// launchIn is launch with what the system is to do for that process.
func launchIn(t *testing.T, id string, attr *syscall.SysProcAttr, env ...string) *child {
	t.Helper()
	binary, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := &child{id: id, cmd: exec.Command(binary), said: make(chan string, 100), ended: make(chan struct{})}
	for _, kv := range os.Environ() {
		if !strings.HasPrefix(kv, "CONSUL_") {
			c.cmd.Env = append(c.cmd.Env, kv)
		}
	}
	c.cmd.Env = append(c.cmd.Env, env...)
	c.cmd.SysProcAttr = attr
	log, err := os.OpenFile(filepath.Join(t.ArtifactDir(), id+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close() // the child has its own
	c.cmd.Stderr = log
	stdin, err := c.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := c.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	c.stdin = stdin
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(c.ended)
		for lines := bufio.NewScanner(stdout); lines.Scan(); {
			c.said <- lines.Text()
		}
		close(c.said)
		c.err = c.cmd.Wait()
	}()
	t.Cleanup(func() {
		c.kill()
		if t.Failed() {
			if said, err := os.ReadFile(log.Name()); err == nil {
				t.Logf("%s said:\n%s", id, said)
			}
		}
	})
	return c
}

// line returns the next line that the child says.
func (c *child) line(t *testing.T) string {
	t.Helper()
	timer := time.NewTimer(20 * time.Second)
	defer timer.Stop()
	select {
	case line, ok := <-c.said:
		if !ok {
			<-c.ended
			t.Fatalf("%s has ended: %v", c.id, c.err)
		}
		return line
	case <-timer.C:
		t.Fatalf("%s is silent for 20 s", c.id)
	}
	return ""
}

// drain lets the child leave in its own time, and returns when it is gone.
func (c *child) drain(t *testing.T) {
	t.Helper()
	_ = c.stdin.Close() // that is the sign
	timer := time.NewTimer(30 * time.Second)
	defer timer.Stop()
	select {
	case <-c.ended:
		if c.err != nil {
			t.Errorf("%s left with %v", c.id, c.err)
		}
	case <-timer.C:
		t.Errorf("%s has not left", c.id)
	}
}

// kill ends the children with SIGKILL, all at once, and returns when they are
// gone.
func kill(children ...*child) {
	for _, c := range children {
		_ = c.cmd.Process.Kill() // already gone is fine
	}
	for _, c := range children {
		<-c.ended
	}
}

// kill ends the child with SIGKILL and returns when it is gone.
func (c *child) kill() { kill(c) }
