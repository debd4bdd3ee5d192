package consultest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

// process is one run of the server. It is ended by its own pid, never by name.
type process struct {
	pid   *os.Process
	ended chan struct{} // closed when the process is gone
}

// startProcess runs the binary with its output appended to logPath. The one
// goroutine it starts ends with the process.
func startProcess(binary string, args []string, logPath string) (*process, error) {
	log, err := os.OpenFile(logPath, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(binary, args...) //nolint:noctx // it outlives the call that starts it
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = environment()
	DieWithParent(cmd)

	p := &process{ended: make(chan struct{})}
	started := make(chan error, 1)
	go func() {
		defer close(p.ended)
		defer log.Close() // written by the child
		// The kernel ties the child's end to the thread that started it, so this
		// goroutine keeps its thread until the child is gone.
		runtime.LockOSThread()
		err := cmd.Start()
		p.pid = cmd.Process
		started <- err
		if err == nil {
			_ = cmd.Wait() // how a killed server ends says nothing
		}
	}()
	if err := <-started; err != nil {
		<-p.ended
		return nil, fmt.Errorf("run %s: %w", binary, err)
	}
	return p, nil
}

// stop asks the process to end, then makes it.
func (p *process) stop(patience time.Duration) error {
	if err := p.pid.Signal(syscall.SIGTERM); err != nil {
		if !errors.Is(err, os.ErrProcessDone) {
			p.kill()
		}
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-p.ended:
		return nil
	case <-timer.C:
		p.kill()
		return fmt.Errorf("consul (pid %d) did not end within %v of SIGTERM and was killed", p.pid.Pid, patience)
	}
}

// kill ends the process at once and returns when it is gone.
func (p *process) kill() {
	_ = p.pid.Kill() // already gone is fine
	<-p.ended
}

// environment is the program's own without what steers Consul: an agent under
// test must not be moved by the developer's shell.
func environment() []string {
	var env []string
	for _, kv := range os.Environ() {
		if len(kv) < 7 || kv[:7] != "CONSUL_" {
			env = append(env, kv)
		}
	}
	return env
}
