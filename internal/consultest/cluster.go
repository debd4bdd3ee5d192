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
	"strings"
	"sync"
	"time"
)

// Cluster is several Consul servers that elect one of them. Its methods are safe
// for concurrent use.
type Cluster struct {
	// Servers can be killed and restarted one by one; what they know is on disk.
	Servers []*Agent

	dir string // that of the options, or one of our own, which Stop removes
	own bool
}

// LaunchCluster starts that many servers and returns when each knows the leader.
// ctx bounds the start only; the caller ends them with [Cluster.Stop]. Each has a
// folder of its own in [Options].Dir; Persistent is of no effect.
func LaunchCluster(ctx context.Context, servers int, o Options) (*Cluster, error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	c := &Cluster{dir: o.Dir, own: o.Dir == ""}
	if c.own {
		dir, err := os.MkdirTemp("", "innermesh-consul-")
		if err != nil {
			return nil, fmt.Errorf("start Consul: %w", err)
		}
		c.dir = dir
	}
	var err error
	for try := range 3 { // as for a single agent
		if err = c.launch(ctx, servers, o, try); !errors.Is(err, errEnded) || ctx.Err() != nil {
			break
		}
		err = errors.Join(err, c.stop())
	}
	if err != nil {
		for _, a := range c.Servers {
			err = fmt.Errorf("%w\n%s:\n%s", err, a.Node, a.LogTail(20))
		}
		return nil, errors.Join(err, c.Stop())
	}
	return c, nil
}

// launch starts all servers at once: none has a leader before there are enough.
func (c *Cluster) launch(ctx context.Context, servers int, o Options, try int) error {
	c.Servers = nil
	var join []string
	for i := range servers {
		own := o
		own.Dir = filepath.Join(c.dir, fmt.Sprintf("server-%d-%d", try, i))
		if err := os.MkdirAll(own.Dir, 0o750); err != nil {
			return fmt.Errorf("start Consul: %w", err)
		}
		a := &Agent{options: own, dir: own.Dir}
		if err := a.choosePorts(); err != nil {
			return err
		}
		c.Servers = append(c.Servers, a)
		join = append(join, "127.0.0.1:"+strconv.Itoa(a.ports.serfLAN))
	}
	faults := make([]error, servers)
	var starting sync.WaitGroup
	for i, a := range c.Servers {
		a.join = join
		starting.Go(func() { faults[i] = a.start(ctx) })
	}
	starting.Wait()
	return errors.Join(faults...)
}

// Leader returns the server that all that run take for the leader, when it can be
// written to. It waits for an election that is under way, until ctx ends.
func (c *Cluster) Leader(ctx context.Context) (*Agent, error) {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 15 * time.Second}
	tick := time.NewTicker(25 * time.Millisecond)
	defer tick.Stop()
	for {
		leader := c.agreed(ctx, client)
		if leader != nil && answers(ctx, client, "http://"+leader.HTTPAddr+"/v1/catalog/services?consistent", 0) {
			return leader, nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, fmt.Errorf("ask %d servers for their leader: %w", len(c.Servers), context.Cause(ctx))
		}
	}
}

// agreed is the running server that all running ones name, nil if there is none.
func (c *Cluster) agreed(ctx context.Context, client *http.Client) (leader *Agent) {
	named := ""
	for _, a := range c.Servers {
		if !a.running() {
			continue
		}
		says := said(ctx, client, "http://"+a.HTTPAddr+"/v1/status/leader")
		if says == "" || named != "" && says != named {
			return nil
		}
		named = says
	}
	for _, a := range c.Servers {
		if a.running() && named == `"127.0.0.1:`+strconv.Itoa(a.ports.server)+`"` {
			return a
		}
	}
	return nil
}

// said is what url is answered with, if that is a success.
func said(ctx context.Context, client *http.Client, url string) string {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return ""
	}
	resp, err := client.Do(req)
	if err != nil {
		return ""
	}
	defer resp.Body.Close() // nothing to lose
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1024))
	if err != nil || resp.StatusCode != http.StatusOK {
		return ""
	}
	return strings.TrimSpace(string(body))
}

// Stop ends all servers and removes what they left, if nobody asked to keep it.
func (c *Cluster) Stop() error {
	err := c.stop()
	if c.own {
		err = errors.Join(err, os.RemoveAll(c.dir))
	}
	return err
}

// stop ends them all at once: alone, the last ones would look for a leader.
func (c *Cluster) stop() error {
	faults := make([]error, len(c.Servers))
	var stopping sync.WaitGroup
	for i, a := range c.Servers {
		stopping.Go(func() { faults[i] = a.Stop() })
	}
	stopping.Wait()
	return errors.Join(faults...)
}
