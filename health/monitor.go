package health

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/innermesh/innermesh/discovery"
)

// Options configure a [Monitor].
type Options struct {
	// Logger hears of changes of state, once each. Default: slog.Default().
	Logger *slog.Logger
}

// Monitor gathers checks and says how the program is. Create it with [New], end
// it with [Monitor.Close]. It is safe for concurrent use.
type Monitor struct {
	log    *slog.Logger
	ctx    context.Context // of all runs; ends with Close
	cancel context.CancelFunc
	loops  sync.WaitGroup // what asks
	runs   sync.WaitGroup // what is asked

	mu      sync.Mutex
	checks  []*running // in the order they came
	holds   []hold     // in the order they came
	closed  bool
	health  discovery.Health // as last told
	output  string
	changed chan struct{} // closed, and replaced, at every change
}

// hold is a reason not to be ready.
type hold struct{ name, reason string }

// startup is the hold that a monitor begins with.
const startup = "startup"

// New returns a monitor that is not ready until [Monitor.Ready].
func New(o Options) *Monitor {
	m := &Monitor{log: o.Logger, changed: make(chan struct{}), holds: []hold{{startup, "has not started yet"}}}
	if m.log == nil {
		m.log = slog.Default()
	}
	m.ctx, m.cancel = context.WithCancel(context.Background())
	m.health, m.output = m.judge()
	return m
}

// Add begins a check, and remove ends it; what is running then is not waited for.
// An error names all faults of the check, or says that its name is taken or that
// the monitor is closed.
func (m *Monitor) Add(c Check) (remove func(), err error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil, fmt.Errorf("check %q: the monitor is closed", c.Name)
	}
	for _, other := range m.checks {
		if other.Name == c.Name {
			return nil, fmt.Errorf("check %q: there is one of that name", c.Name)
		}
	}
	ctx, cancel := context.WithCancel(m.ctx)
	r := &running{Check: c.withDefaults(), monitor: m, since: time.Now()}
	m.checks = append(m.checks, r)
	m.loops.Go(func() { r.loop(ctx) })
	m.note()
	return func() { cancel(); m.drop(r) }, nil
}

// Ready says that the program has started: from now on its checks decide.
func (m *Monitor) Ready() { m.Release(startup) }

// Hold makes the program not ready for a reason of that name, until [Monitor.Release]:
// maintenance, leaving, a task that must not be disturbed.
func (m *Monitor) Hold(name, reason string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range m.holds {
		if m.holds[i].name == name {
			m.holds[i].reason = reason
			m.note()
			return
		}
	}
	m.holds = append(m.holds, hold{name, reason})
	m.note()
}

// Release ends what Hold began.
func (m *Monitor) Release(name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range m.holds {
		if m.holds[i].name == name {
			m.holds = append(m.holds[:i:i], m.holds[i+1:]...)
			break
		}
	}
	m.note()
}

// Health is what the registry is told: critical while the program is not ready,
// warning while only what is informational fails. output says why, in a line.
func (m *Monitor) Health() (health discovery.Health, output string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.health, m.output
}

// Changed is closed when Health is about to say something else. Ask for it before
// Health.
func (m *Monitor) Changed() <-chan struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.changed
}

// Close ends all checks. It returns when what is running has ended, or a second
// later if that does not heed its context. What was found last stays.
func (m *Monitor) Close() {
	m.mu.Lock()
	m.closed = true
	m.mu.Unlock()
	m.cancel()
	m.loops.Wait()
	ended := make(chan struct{})
	go func() {
		m.runs.Wait()
		close(ended)
	}()
	timer := time.NewTimer(time.Second)
	defer timer.Stop()
	select {
	case <-ended:
	case <-timer.C:
		m.log.Warn("a health check does not heed its context and is left behind")
	}
}

func (m *Monitor) drop(r *running) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i, other := range m.checks {
		if other == r {
			m.checks = append(m.checks[:i:i], m.checks[i+1:]...)
		}
	}
	m.note()
}

// note tells those who wait if something is other than it was. The caller holds
// the lock.
func (m *Monitor) note() {
	health, output := m.judge()
	if health == m.health && output == m.output {
		return
	}
	was := m.health
	m.health, m.output = health, output
	close(m.changed)
	m.changed = make(chan struct{})
	switch {
	case was != discovery.Critical && health == discovery.Critical:
		m.log.Warn("not ready any more", "why", output)
	case was == discovery.Critical && health != discovery.Critical:
		m.log.Info("ready", "health", health.String())
	}
}
