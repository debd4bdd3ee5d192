package consultest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// Options say how to run an agent. The zero value is a single server without
// access control that keeps everything in memory.
type Options struct {
	// Config is more configuration in Consul's HCL, laid over the agent's own.
	// Example: `acl { enabled = true default_policy = "deny" tokens { initial_management = "root" } }`.
	Config string
	// Token is used by [Agent.Client]. Needed with access control.
	Token string
	// Persistent keeps what the agent knows on disk, so that it is still there
	// after [Agent.Restart]. Otherwise a restarted agent has forgotten everything.
	Persistent bool
	// Dir takes the log (consul.log) and the data. Default: a temporary
	// directory that is removed by [Agent.Stop].
	Dir string
	// Binary is the server to run. Default: that of [Binary].
	Binary string
	// Patience is how long a start may take. Default 30 s.
	Patience time.Duration
}

// Launch starts an agent and returns when it has a leader. ctx bounds the start
// only; the caller ends the agent with [Agent.Stop]. On Linux the agent is also
// ended when the program that launched it dies.
func Launch(ctx context.Context, o Options) (*Agent, error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	a := &Agent{options: o, dir: o.Dir}
	if a.dir == "" {
		dir, err := os.MkdirTemp("", "innermesh-consul-")
		if err != nil {
			return nil, fmt.Errorf("start Consul: %w", err)
		}
		a.dir = dir
	}
	// A port found free may be taken before the agent gets to it.
	var err error
	for range 3 {
		if err = a.choosePorts(); err != nil {
			break
		}
		if err = a.start(ctx); !errors.Is(err, errEnded) || ctx.Err() != nil {
			break
		}
	}
	if err != nil {
		err = fmt.Errorf("%w\n%s", err, a.LogTail(20))
		return nil, errors.Join(err, a.Stop())
	}
	return a, nil
}

// complete fills in the defaults.
func (o *Options) complete() error {
	if o.Binary == "" {
		path, err := Binary()
		if err != nil {
			return err
		}
		o.Binary = path
	}
	if o.Patience == 0 {
		o.Patience = 30 * time.Second
	}
	return nil
}

// choosePorts finds new ports; address and name are made of them.
func (a *Agent) choosePorts() (err error) {
	if a.ports, err = freePorts(); err != nil {
		return err
	}
	a.HTTPAddr = "127.0.0.1:" + strconv.Itoa(a.ports.http)
	a.GRPCAddr = "127.0.0.1:" + strconv.Itoa(a.ports.grpc)
	a.Node = "node-" + strconv.Itoa(a.ports.http)
	return nil
}

// start runs the process on the agent's ports and waits for its leader.
func (a *Agent) start(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, a.options.Patience, errors.New("it took too long"))
	defer cancel()
	p, err := startProcess(a.options.Binary, a.args(), a.LogPath())
	if err != nil {
		return fmt.Errorf("start Consul: %w", err)
	}
	if err := a.awaitLeader(ctx, p); err != nil {
		p.kill()
		return fmt.Errorf("start Consul: %w", err)
	}
	a.mu.Lock()
	a.proc = p
	a.mu.Unlock()
	return nil
}

func (a *Agent) args() []string {
	args := []string{"agent", "-dev"}
	if a.options.Persistent || len(a.join) > 0 {
		args = []string{
			"agent", "-server", fmt.Sprintf("-bootstrap-expect=%d", max(len(a.join), 1)), "-data-dir=" + filepath.Join(a.dir, "data"),
			"-hcl=connect { enabled = true } performance { raft_multiplier = 1 }",
		}
	}
	for _, addr := range a.join {
		args = append(args, "-retry-join="+addr)
	}
	if len(a.join) == 0 {
		// Fast gossip: a lone agent has nobody to be polite to. Others on a busy
		// machine may be slow without being dead.
		args = append(args, "-hcl=gossip_lan { gossip_interval = \"50ms\" probe_interval = \"200ms\" probe_timeout = \"100ms\" }")
	}
	args = append(args,
		"-node="+a.Node, "-bind=127.0.0.1", "-client=127.0.0.1", "-log-level=info",
		"-hcl=disable_update_check = true",
		fmt.Sprintf("-hcl=ports { http = %d grpc = %d grpc_tls = -1 dns = -1 server = %d serf_lan = %d serf_wan = %d }",
			a.ports.http, a.ports.grpc, a.ports.server, a.ports.serfLAN, a.ports.serfWAN))
	if a.options.Config != "" {
		args = append(args, "-hcl="+a.options.Config)
	}
	return args
}

var errEnded = errors.New("the agent ended by itself")

// awaitLeader polls: an agent that is starting has nothing to wait on.
func (a *Agent) awaitLeader(ctx context.Context, p *process) error {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 15 * time.Second}
	tick := time.NewTicker(25 * time.Millisecond)
	defer tick.Stop()
	for {
		// A leader that has just been elected may not have read all of its log yet;
		// a consistent read waits until it has.
		if answers(ctx, client, "http://"+a.HTTPAddr+"/v1/status/leader", len(`""`)) &&
			answers(ctx, client, "http://"+a.HTTPAddr+"/v1/catalog/services?consistent", 0) {
			return nil
		}
		select {
		case <-tick.C:
		case <-p.ended:
			return errEnded
		case <-ctx.Done():
			return fmt.Errorf("no leader: %w", context.Cause(ctx))
		}
	}
}

// answers says whether url is answered with 200 and more bytes than that: the
// address of the leader is `""` as long as there is none.
func answers(ctx context.Context, client *http.Client, url string, moreThan int) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return false
	}
	resp, err := client.Do(req)
	if err != nil {
		return false
	}
	defer resp.Body.Close() // nothing to lose
	var body [64]byte
	n, _ := io.ReadAtLeast(resp.Body, body[:], moreThan+1)
	return resp.StatusCode == http.StatusOK && n > moreThan
}
