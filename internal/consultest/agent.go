package consultest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/hashicorp/consul/api"
)

// Agent is a running Consul server: its own leader, or one of a [Cluster]. Its methods are safe
// for concurrent use, but only one of Kill, Restart and Stop at a time makes
// sense.
type Agent struct {
	// HTTPAddr and GRPCAddr are "host:port" on the loopback. They stay the same
	// across Restart.
	HTTPAddr, GRPCAddr string
	// Node is the agent's name.
	Node string

	options Options
	dir     string
	ports   ports
	join    []string // where its cluster gossips; none is alone

	mu   sync.Mutex
	proc *process // nil while it is not running
}

// Client returns a client for the agent with the token of the options. It keeps
// no connections, so it needs no closing.
func (a *Agent) Client() (*api.Client, error) {
	config := api.DefaultNonPooledConfig()
	config.Address, config.Scheme, config.Token = a.HTTPAddr, "http", a.options.Token
	client, err := api.NewClient(config)
	if err != nil {
		return nil, fmt.Errorf("client for Consul at %s: %w", a.HTTPAddr, err)
	}
	return client, nil
}

// Kill ends the agent with SIGKILL, as a crash would, and returns when it is gone.
func (a *Agent) Kill() {
	if p := a.take(); p != nil {
		p.kill()
	}
}

// Restart ends the agent, if it is running, and starts it again on the same
// ports. Unless it is [Options.Persistent] it has forgotten everything.
func (a *Agent) Restart(ctx context.Context) error {
	if p := a.take(); p != nil {
		if err := p.stop(10 * time.Second); err != nil {
			return err
		}
	}
	return a.start(ctx)
}

// Stop ends the agent and removes what it left, if nobody asked to keep it. It
// returns when the process is gone. A second call does nothing.
func (a *Agent) Stop() error {
	var err error
	if p := a.take(); p != nil {
		err = p.stop(10 * time.Second)
	}
	if a.options.Dir == "" {
		err = errors.Join(err, os.RemoveAll(a.dir))
	}
	return err
}

// LogPath is the file that has everything the agent said, over all restarts.
func (a *Agent) LogPath() string { return filepath.Join(a.dir, "consul.log") }

// LogTail returns the last lines of the log.
func (a *Agent) LogTail(lines int) string {
	data, err := os.ReadFile(a.LogPath())
	if err != nil {
		return "(no log: " + err.Error() + ")"
	}
	data = bytes.TrimRight(data, "\n")
	at := len(data)
	for range lines {
		if at = bytes.LastIndexByte(data[:at], '\n'); at < 0 {
			return string(data)
		}
	}
	return string(data[at+1:])
}

func (a *Agent) running() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.proc != nil
}

// take hands over the running process, so that only one caller ends it.
func (a *Agent) take() *process {
	a.mu.Lock()
	defer a.mu.Unlock()
	p := a.proc
	a.proc = nil
	return p
}
