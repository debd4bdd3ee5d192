package balancer

import (
	"math"
	"sync/atomic"
	"time"
)

// Member is what a picker knows about one instance: its share and its load.
// The zero value is an idle member of weight 1. It must not be copied.
type Member struct {
	inflight atomic.Int64
	weight   atomic.Int32
	closed   atomic.Int64 // not before this moment, on the clock of the picks
}

// Weight returns the member's share against its siblings, at least 1.
func (m *Member) Weight() int { return max(int(m.weight.Load()), 1) }

// SetWeight changes the member's share.
func (m *Member) SetWeight(w int) { m.weight.Store(int32(min(max(w, 1), math.MaxInt32))) }

// Inflight returns how many attempts the member is carrying.
func (m *Member) Inflight() int { return int(m.inflight.Load()) }

// Begin counts an attempt that goes to the member.
func (m *Member) Begin() { m.inflight.Add(1) }

// End takes back what Begin counted and returns how many attempts are left.
func (m *Member) End() int { return int(m.inflight.Add(-1)) }

// CloseUntil keeps picks away from the member until the given moment; 0 lets
// them in again.
func (m *Member) CloseUntil(at time.Duration) { m.closed.Store(int64(at)) }

// Open says whether the member may be picked now.
func (m *Member) Open(now time.Duration) bool { return m.closed.Load() <= int64(now) }

// lighter says whether m carries less per weight than o.
func (m *Member) lighter(o *Member) bool {
	return m.inflight.Load()*int64(o.Weight()) < o.inflight.Load()*int64(m.Weight())
}
