package cluster

import (
	"time"

	"github.com/innermesh/innermesh/breaker"
	"github.com/innermesh/innermesh/internal/mono"
)

// compare begins anew to compare the members with each other, on the terms of s.
// The caller holds the lock, or is the only one to know the cluster.
func (c *Cluster) compare(s *Settings) {
	c.outliers = nil
	now := mono.Now()
	if !s.ejectionOff {
		c.outliers = breaker.NewOutliers(s.ejection, c.ejected)
	}
	for _, m := range c.roster.called() {
		c.floor.pardon(now, m)
		c.watch(m)
	}
}

// watch has a member compared with its siblings.
func (c *Cluster) watch(m *Member) {
	c.byID.Store(m.ID, m)
	if c.outliers == nil {
		m.watched.Store(nil)
		return
	}
	m.watched.Store(c.outliers.Watch(m.ID))
}

// unwatch forgets a member that has left.
func (c *Cluster) unwatch(m *Member) {
	c.byID.CompareAndDelete(m.ID, m)
	if w := m.watched.Swap(nil); w != nil {
		c.outliers.Forget(mono.Now(), w)
	}
}

// ejected keeps picks away from a member for as long as it is ejected. It is
// called under the lock of the outliers, so it must not take the cluster's.
func (c *Cluster) ejected(e breaker.Ejection) {
	found, ok := c.byID.Load(e.Instance)
	if !ok {
		return
	}
	m := found.(*Member)
	if e.Cause == breaker.Returned {
		m.ejection.Store(nil)
		c.floor.restore(mono.Now(), m)
		c.log.Info("instance is back in rotation", "instance", m.ID)
		return
	}
	c.floor.eject(mono.Now(), m, e.Until)
	c.tel.Ejected(string(e.Cause))
	m.ejections.Add(1)
	at := time.Now()
	m.ejection.Store(&EjectionStatus{Cause: e.Cause, At: at, Until: at.Add(e.Until - mono.Now()), Times: e.Times})
	c.log.Warn("instance ejected", "instance", m.ID, "cause", string(e.Cause),
		"until", time.Now().Add(e.Until-mono.Now()).Round(time.Millisecond), "times", e.Times)
}
