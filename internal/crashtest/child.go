package crashtest

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// Child is the program in another process. It tells what it has done by lines that
// end with a full stop.
type Child struct {
	cmd   *exec.Cmd
	in    io.Closer
	lines *bufio.Scanner
	said  []string
}

// Start runs the test binary with these variables in its environment.
func Start(t *testing.T, env ...string) *Child {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0]) //nolint:gosec // this very program
	cmd.Env, cmd.Stderr = append(os.Environ(), env...), os.Stderr
	in, err := cmd.StdinPipe() // closed when this process ends, which ends the child
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return &Child{cmd: cmd, in: in, lines: bufio.NewScanner(out)}
}

// First waits until the child has told something.
func (c *Child) First(t *testing.T) {
	t.Helper()
	if !c.lines.Scan() {
		t.Fatalf("the program has ended by itself: %v", c.cmd.Wait())
	}
	c.said = append(c.said, c.lines.Text())
}

// Kill ends the child with SIGKILL and returns what it has told. A line that was
// cut short by its end was told to nobody.
func (c *Child) Kill() []string {
	_ = c.cmd.Process.Kill() // it may have ended
	said, _ := c.Wait()
	return said
}

// Wait waits until the child ends by itself and returns what it has told.
func (c *Child) Wait() ([]string, error) {
	for c.lines.Scan() {
		c.said = append(c.said, c.lines.Text())
	}
	_ = c.in.Close()
	var whole []string
	for _, line := range c.said {
		if words, ok := strings.CutSuffix(line, "."); ok {
			whole = append(whole, words)
		}
	}
	return whole, c.cmd.Wait()
}

// Program is what the child does. It ends when its parent does, and returns the
// code to exit with.
func Program(do func() error) (code int) {
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(3) //nolint:forbidigo // the parent is gone
	}()
	if err := do(); err != nil {
		fmt.Fprintln(os.Stderr, "program:", err)
		return 1
	}
	return 0
}
