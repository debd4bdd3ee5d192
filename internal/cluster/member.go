package cluster

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/innermesh/innermesh/balancer"
	"github.com/innermesh/innermesh/breaker"
	"github.com/innermesh/innermesh/call"
	"github.com/innermesh/innermesh/discovery"
	"github.com/innermesh/innermesh/internal/window"
)

// Member is one instance inside a cluster, with everything that is known about
// it here. It lives from the first snapshot that has the instance to the first
// that has not, through all updates between.
type Member struct {
	// Address is where to dial; an instance that moves is another member.
	Address string
	// ID is the instance's.
	ID string
	// Cluster is the one it belongs to.
	Cluster *Cluster

	load     balancer.Member
	instance atomic.Pointer[discovery.Instance]
	guard    atomic.Pointer[guard]           // nil while breakers are off
	watched  atomic.Pointer[breaker.Watched] // nil while nobody is ejected
	ejection atomic.Pointer[EjectionStatus]  // the last one, for people
	demand   demand                          // guarded by the cluster's floor
	spared   atomic.Bool                     // called although its breaker is open

	isCallable bool // guarded by the cluster

	attempts, failures atomic.Uint64
	trips, ejections   atomic.Uint32
	latency            window.Histogram
	silent             atomic.Bool // it gave no answer when it was last called

	gone  atomic.Bool
	mu    sync.Mutex
	leave []func()
}

func newMember(c *Cluster, i discovery.Instance) *Member {
	m := &Member{Address: i.Address, ID: i.ID, Cluster: c}
	m.load.SetID(i.ID)
	m.update(i)
	return m
}

// door is one of those who keep picks away from a member.
type door int

const (
	byBreaker door = iota
	byEjection
	doors
)

// update takes in what discovery says, and says whether the member's weight or
// place is another.
func (m *Member) update(i discovery.Instance) bool {
	old := m.instance.Swap(&i)
	m.load.SetWeight(i.Weight)
	return old != nil && (old.Weight != i.Weight || placeOf(old) != placeOf(&i))
}

// Instance returns what discovery said last.
func (m *Member) Instance() discovery.Instance { return *m.instance.Load() }

// Load is what pickers know of the member.
func (m *Member) Load() *balancer.Member { return &m.load }

// Gone says whether the member has left its cluster.
func (m *Member) Gone() bool { return m.gone.Load() }

// OnLeave has f called when the member has left the cluster: at once, and once
// more when its last attempt has ended. f must be quick and safe to repeat.
func (m *Member) OnLeave(f func()) {
	m.mu.Lock()
	m.leave = append(m.leave, f)
	gone := m.gone.Load()
	m.mu.Unlock()
	if gone {
		f()
	}
}

func (m *Member) depart() {
	m.mu.Lock()
	m.gone.Store(true)
	hooks := m.leave
	m.mu.Unlock()
	for _, f := range hooks {
		f()
	}
}

// Pick is a member that was chosen for one attempt. Judge and Release must each
// be called exactly once, Judge first.
//
// It has four fields: with five the compiler would no longer keep it in registers,
// and a pick take half as long again.
type Pick struct {
	*Member
	guard *guard
	leave breaker.Leave // of the guard's breaker, if it was asked
	about remark
}

// remark is what is known of a pick, none or several.
type remark uint8

const (
	trusted remark = 1 << iota // the breaker was not asked, but must hear of failures
	outrun                     // another instance has answered first
)

// Outrun says, before Judge, that another instance has answered first.
func (p *Pick) Outrun() { p.about |= outrun }

// enter begins an attempt, if the member's breaker lets it in.
func (m *Member) enter(now time.Duration) (p Pick, err error) {
	m.load.Start(now) // before the breaker: others should see the load at once
	p.Member = m
	p.guard = m.guard.Load()
	if p.guard == nil {
		return p, nil
	}
	if p.leave, p.about, err = p.guard.enter(); err == nil || m.spared.Load() {
		return p, nil
	}
	m.load.Finish(now, 0, call.Rejected, 0)
	return Pick{}, err
}

// Judge tells the member how the attempt went, as soon as that is known.
func (p *Pick) Judge(now, took time.Duration, out call.Outcome) {
	r := out.Reason
	answers := p.attempts.Add(1)
	if p.about&outrun != 0 {
		p.load.Outrun(now, took)
	} else {
		p.load.Answer(now, took, r, out.RetryAfter)
	}
	p.load.Report(now, out.Utilization)
	if w := p.watched.Load(); w != nil {
		w.Record(now, r)
	}
	switch {
	case r.Failed():
		p.failures.Add(1)
		p.silence(out.Sent != call.Answered)
	case !r.Neutral(): // how long answers take; failures have times of their own
		p.latency.Record(took)
		p.silence(false)
	}
	if p.guard != nil {
		p.guard.judge(now, p.leave, p.about, r, answers)
	}
}

// Trouble counts how often the member's breaker has opened, and how often it was
// ejected.
func (m *Member) Trouble() (trips, ejections uint32) { return m.trips.Load(), m.ejections.Load() }

// silence notes whether the member gave no answer. It seldom changes, and what is
// not written is not fetched again by the other CPUs.
func (m *Member) silence(silent bool) {
	if m.silent.Load() != silent {
		m.silent.Store(silent)
	}
}

// Release gives the member back once nothing of the attempt is under way.
func (p *Pick) Release() {
	if p.load.End() == 0 && p.gone.Load() {
		p.depart()
	}
}
