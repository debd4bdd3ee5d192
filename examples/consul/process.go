package main

import (
	"bytes"
	"fmt"
	"io"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"github.com/innermesh/innermesh/internal/consultest"
)

// process is a running program. It ends with the context of its command, which
// asks it to (SIGTERM), or is killed.
type process struct {
	name   string
	spoken chan struct{} // closed at its first word
	ended  chan struct{}

	cmd    *exec.Cmd
	killed bool
	once   sync.Once
	out    io.Writer
	log    bytes.Buffer // shown if it fails
}

func start(name string, cmd *exec.Cmd, out io.Writer) (*process, error) {
	p := &process{name: name, cmd: cmd, out: out, spoken: make(chan struct{}), ended: make(chan struct{})}
	cmd.Stdout = p
	if cmd.Stderr == nil {
		cmd.Stderr = &p.log
	}
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second // then it is killed
	consultest.DieWithParent(cmd)
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go func() {
		defer close(p.ended)
		_ = cmd.Wait() // wait looks at how it ended
	}()
	return p, nil
}

// Write implements [io.Writer] for what the program says.
func (p *process) Write(b []byte) (int, error) {
	defer p.once.Do(func() { close(p.spoken) })
	return p.out.Write(b)
}

// kill ends the process at once.
func (p *process) kill() {
	p.killed = true
	_ = p.cmd.Process.Kill() // already gone is fine
	<-p.ended
}

// wait returns when the process has ended, and why it has failed, if so.
func (p *process) wait() error {
	<-p.ended
	if p.killed || p.cmd.ProcessState.Success() {
		return nil
	}
	return fmt.Errorf("%s: %v\n%s", p.name, p.cmd.ProcessState, &p.log)
}

// console is written to by many at once.
type console struct {
	mu sync.Mutex
	w  io.Writer
}

// Write implements [io.Writer].
func (c *console) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.w.Write(b)
}
