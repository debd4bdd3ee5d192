package drill

import (
	"bufio"
	"context"
	"encoding/json"
	"maps"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/innermesh/innermesh/mesh"
)

// What a client is told by its environment, beside the agent and the service.
const (
	clientEnv = "INNERMESH_DRILL_CLIENT" // the folder of its snapshots
	startEnv  = "INNERMESH_DRILL_START"  // when it was started
)

// report is what a client says of one of its loads.
type report struct {
	Name    string         `json:"name"`
	First   time.Duration  `json:"first"` // from joining the mesh to the answer of the first call
	Since   time.Duration  `json:"since"` // the same from the start of the process
	Answers map[string]int `json:"answers"`
	Done    int            `json:"done"`
	Faults  []string       `json:"faults"`
	Rate    float64        `json:"rate"` // calls a second, when the load has ended
}

// client joins the mesh and calls at once, and goes on at the steady rate until
// its standard input ends. It reports at every line that comes in, and at the
// end.
func client(agent, service, dir, started string) error {
	start := time.Now()
	launched, err := time.Parse(time.RFC3339Nano, started)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), longest)
	defer cancel()
	o := caller(agent, os.Stderr)
	o.SnapshotDir = dir
	m, err := mesh.New(ctx, o)
	if err != nil {
		return err
	}
	loads, err := loadsOf(m, service)
	if err != nil {
		return err
	}
	callers := make([]*calling, len(loads))
	var running sync.WaitGroup
	for i, l := range loads {
		c := &calling{load: l}
		callers[i], l.ended = c, make(chan struct{})
		running.Go(func() {
			l.once()
			c.note(time.Since(start), time.Since(launched))
			l.run(ctx)
		})
	}
	out := json.NewEncoder(os.Stdout)
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		if err := out.Encode(reports(callers)); err != nil {
			return err
		}
	}
	cancel()
	running.Wait()
	last := reports(callers)
	for i, l := range loads {
		last[i].Rate = l.rate()
	}
	if err := out.Encode(last); err != nil {
		return err
	}
	return m.Close(context.Background()) // nothing is registered
}

// calling is a load of a client.
type calling struct {
	*load
	first, since time.Duration // guarded by the mutex of the load
}

func (c *calling) note(first, since time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.first, c.since = first, since
}

func (c *calling) report() report {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := report{Name: c.name, First: c.first, Since: c.since, Answers: maps.Clone(c.answers), Done: c.done}
	for _, err := range c.faults {
		r.Faults = append(r.Faults, err.Error())
	}
	return r
}

func reports(callers []*calling) (all []report) {
	for _, c := range callers {
		all = append(all, c.report())
	}
	return all
}

// beginClient starts a client and returns when it has called for a while. first
// is how long it took to the answer of the first call over each protocol.
func beginClient(t *testing.T, s *stage, id, dir string) (c *child, first []time.Duration) {
	t.Helper()
	c = launch(t, id, clientEnv+"="+dir, agentEnv+"="+s.agent.HTTPAddr, serviceEnv+"="+s.service,
		startEnv+"="+time.Now().Format(time.RFC3339Nano))
	s.await(20*time.Second, id+" calls", func() bool {
		return !slices.ContainsFunc(c.ask(t), func(r report) bool { return r.Done < 20 })
	})
	for _, r := range c.ask(t) {
		first = append(first, r.First)
		t.Logf("%s: the first call over %s was answered %v after it joined the mesh, %v after the process began",
			id, r.Name, r.First.Round(time.Millisecond), r.Since.Round(time.Millisecond))
	}
	return c, first
}

// ask has a client report.
func (c *child) ask(t *testing.T) []report {
	t.Helper()
	if _, err := c.stdin.Write([]byte("\n")); err != nil {
		t.Fatalf("ask %s: %v", c.id, err)
	}
	return c.report(t)
}

// report reads a client's report and judges it.
func (c *child) report(t *testing.T) (all []report) {
	t.Helper()
	if err := json.Unmarshal([]byte(c.line(t)), &all); err != nil {
		t.Fatalf("%s: %v", c.id, err)
	}
	for _, r := range all {
		if len(r.Faults) > 0 {
			t.Fatalf("%s: of %d calls over %s %d have failed, the first: %s", c.id, r.Done, r.Name, len(r.Faults), r.Faults[0])
		}
	}
	return all
}

// more waits until a client has made that many more calls of each protocol.
func (s *stage) more(c *child, calls int) {
	s.t.Helper()
	before := c.ask(s.t)
	s.await(30*time.Second, "the client goes on", func() bool {
		for i, r := range c.ask(s.t) {
			if r.Done < before[i].Done+calls {
				return false
			}
		}
		return true
	})
}

// answered says whether a client has answers of a backend over both protocols.
func (c *child) answered(t *testing.T, by string) bool {
	t.Helper()
	return !slices.ContainsFunc(c.ask(t), func(r report) bool { return r.Answers[by] == 0 })
}

// leave ends a client and judges how it went.
func (c *child) leave(t *testing.T) {
	t.Helper()
	_ = c.stdin.Close()
	for _, r := range c.report(t) {
		t.Logf("%s: %d calls over %s, %.0f a second, none failed; answers %v", c.id, r.Done, r.Name, r.Rate, r.Answers)
		if r.Rate < promised {
			t.Errorf("%s: %.0f calls a second over %s, want %d: the drill shows nothing", c.id, r.Rate, r.Name, promised)
		}
	}
	c.drain(t)
}
