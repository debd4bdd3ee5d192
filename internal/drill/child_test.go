package drill

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// child is a backend as its parent sees it.
type child struct {
	id    string
	cmd   *exec.Cmd
	stdin io.Closer // its end tells the child to leave; it comes with the parent's, too
	ended chan struct{}
	err   error // how it ended
}

// begin starts a backend and returns when it is registered. It ends with the
// test at the latest.
func begin(t *testing.T, s *stage, id string) *child {
	t.Helper()
	binary, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := &child{id: id, cmd: exec.Command(binary), ended: make(chan struct{})}
	for _, kv := range os.Environ() {
		if !strings.HasPrefix(kv, "CONSUL_") {
			c.cmd.Env = append(c.cmd.Env, kv)
		}
	}
	c.cmd.Env = append(c.cmd.Env, backendEnv+"="+id, agentEnv+"="+s.gate.addr, serviceEnv+"="+s.service)
	log, err := os.Create(filepath.Join(t.ArtifactDir(), id+".log"))
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
	registered := make(chan bool, 1)
	go func() {
		defer close(c.ended)
		line, err := bufio.NewReader(stdout).ReadString('\n')
		registered <- err == nil && strings.TrimSpace(line) == "registered"
		c.err = c.cmd.Wait()
	}()
	t.Cleanup(func() {
		c.kill()
		if t.Failed() {
			if said, err := os.ReadFile(log.Name()); err == nil {
				t.Logf("backend %s said:\n%s", id, said)
			}
		}
	})
	timer := time.NewTimer(20 * time.Second)
	defer timer.Stop()
	select {
	case ok := <-registered:
		if !ok {
			t.Fatalf("backend %s did not get as far as being registered", id)
		}
	case <-timer.C:
		t.Fatalf("backend %s is not registered after 20 s", id)
	}
	return c
}

// drain lets the backend leave in its own time, and returns when it is gone.
func (c *child) drain(t *testing.T) {
	t.Helper()
	_ = c.stdin.Close() // that is the sign
	timer := time.NewTimer(30 * time.Second)
	defer timer.Stop()
	select {
	case <-c.ended:
		if c.err != nil {
			t.Errorf("backend %s left with %v", c.id, c.err)
		}
	case <-timer.C:
		t.Errorf("backend %s has not left", c.id)
	}
}

// kill ends the backend with SIGKILL and returns when it is gone.
func (c *child) kill() {
	_ = c.cmd.Process.Kill() // already gone is fine
	<-c.ended
}
