package upstream

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/innermesh/innermesh/balancer"
	"github.com/innermesh/innermesh/call"
	"github.com/innermesh/innermesh/internal/cluster"
	"github.com/innermesh/innermesh/internal/mono"
	"github.com/innermesh/innermesh/internal/route"
	"github.com/innermesh/innermesh/internal/telemetry"
	"github.com/innermesh/innermesh/limit"
)

// Destination is a leg of a route as calls go down it: a cluster, and those to
// fail over to.
type Destination struct {
	*route.Leg
	tiers   []*cluster.Cluster
	ways    []*telemetry.Way // to the tiers
	patient time.Duration    // until when tiers are waited for that do not tell
}

// Clusters returns the cluster of the leg's target and those to fail over to.
// Read only.
func (d *Destination) Clusters() []*cluster.Cluster { return d.tiers }

// Way records the calls that go to the instances of a cluster, if that is one of
// the leg's, else to those of the first.
func (d *Destination) Way(c *cluster.Cluster) *telemetry.Way {
	for i, tier := range d.tiers {
		if tier == c {
			return d.ways[i]
		}
	}
	return d.ways[0]
}

// IsReady says whether enough is known to pick: the instances of the first tier,
// and if there are none those of all others. Who has not told after a while is
// no longer waited for.
func (d *Destination) IsReady() bool {
	if !d.tiers[0].IsReady() {
		return len(d.tiers) > 1 && d.someKnown() && mono.Now() >= d.patient
	}
	if len(d.tiers) == 1 || d.tiers[0].View().Error() == nil {
		return true
	}
	return !slices.ContainsFunc(d.tiers, func(c *cluster.Cluster) bool { return !c.IsReady() }) ||
		d.someKnown() && mono.Now() >= d.patient
}

// someKnown says whether some tier is known to have instances.
func (d *Destination) someKnown() bool {
	return slices.ContainsFunc(d.tiers, func(c *cluster.Cluster) bool { return c.View().Error() == nil })
}

// Ready waits until IsReady. It fails when ctx ends before any tier has told.
func (d *Destination) Ready(ctx context.Context) error {
	if len(d.tiers) == 1 {
		return d.tiers[0].Ready(ctx)
	}
	patient, cancel := context.WithTimeout(ctx, max(d.patient-mono.Now(), 0))
	defer cancel()
	var fault error
	for _, c := range d.tiers { // in their order: the first is the one that is wanted
		switch err := c.Ready(patient); {
		case err != nil:
			fault = cmp.Or(fault, err)
		case c.View().Error() == nil && fault == nil:
			return nil
		}
	}
	if fault == nil || d.someKnown() {
		return nil
	}
	return d.anyKnown(ctx)
}

// anyKnown waits until some tier has told.
func (d *Destination) anyKnown(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	answers := make(chan error, len(d.tiers))
	for _, c := range d.tiers {
		go func() { answers <- c.Ready(ctx) }()
	}
	var fault error
	for range d.tiers {
		err := <-answers
		if err == nil {
			return nil
		}
		fault = cmp.Or(fault, err)
	}
	return fault
}

// Bounded says whether calls have to be admitted at all.
func (d *Destination) Bounded() bool { return d.tiers[0].Bounded() }

// Admit lets a call in, or says that there are too many. The limits are those of
// the leg's own target.
func (d *Destination) Admit(ctx context.Context, c *call.Call, r route.Request) (cluster.Admission, error) {
	e := cluster.Entry{Protocol: c.Protocol, Stream: c.Stream}
	var err error
	if e.Priority, err = limit.ParsePriority(c.Options.Priority); err != nil {
		return cluster.Admission{}, fmt.Errorf("call.Options: %w", err)
	}
	if c.Options.Priority == "" {
		said, _ := r.HeaderValue(priorityHeader)
		e.Priority, _ = limit.ParsePriority(said) // what others say and nobody knows is no fault of the call's
	}
	e.Key = d.Key.Of(r, c.Options.Affinity, e.Priority.String())
	e.RateKey = d.RateKey.Of(r, c.Options.Affinity, e.Priority.String())
	return d.tiers[0].Admit(ctx, e)
}

// priorityHeader is [call.PriorityHeader] in its spellings.
var priorityHeader = route.NewName(call.PriorityHeader)

// Pick chooses a member for an attempt. Which tier it is looked for in is drawn
// by the tiers' shares; if that one has nobody, or was of no use to the call, the
// others are asked in order.
func (d *Destination) Pick(info balancer.Info) (cluster.Pick, error) {
	if len(d.tiers) == 1 {
		return d.tiers[0].View().Pick(info)
	}
	chosen := d.useful(d.tier(info), info)
	pick, err := d.tiers[chosen].View().Pick(info)
	for i := 0; err != nil && i < len(d.tiers); i++ {
		if i == chosen {
			continue
		}
		if other, otherErr := d.tiers[i].View().Pick(info); otherErr == nil {
			return other, nil
		}
	}
	return pick, err
}

// useful is the chosen tier, or the first one that the call has not lost, if that
// one is: when all of a tier die at once its breakers are the last to know, and a
// call has few attempts. Who answers, however badly, is not lost.
func (d *Destination) useful(chosen int, info balancer.Info) int {
	lost := func(c *cluster.Cluster) bool { return c.View().Lost(info.Tried) }
	if len(info.Tried) == 0 || !lost(d.tiers[chosen]) {
		return chosen
	}
	for i, c := range d.tiers {
		if c.View().Error() == nil && !lost(c) {
			return i
		}
	}
	return chosen
}

// Choice says whether a pick would find a member that was not tried yet, and
// whether it would find any.
func (d *Destination) Choice(info balancer.Info) (fresh, open bool) {
	for _, c := range d.tiers {
		f, o := c.View().Choice(info)
		if fresh, open = fresh || f, open || o; fresh {
			return fresh, open
		}
	}
	return fresh, open
}

// Elsewhere has a pick avoid the zones of the members that were tried, as long as
// there is somebody in another.
func (d *Destination) Elsewhere(info balancer.Info) balancer.Info {
	far := info
	for _, c := range d.tiers {
		far.Tried = c.View().Neighbours(far.Tried, info.Tried)
	}
	if len(far.Tried) == len(info.Tried) {
		return info
	}
	if fresh, _ := d.Choice(far); !fresh {
		return info
	}
	return far
}

// Quickest is how soon an attempt on another member may be answered at best, as
// far as is known.
func (d *Destination) Quickest(info balancer.Info) time.Duration {
	return d.tiers[0].View().Quickest(info)
}

// tier draws a tier by its share: as Envoy's priorities do, a tier keeps all of
// its calls until fewer than 1/1.4 of its instances are healthy, and what it can
// not take goes to the next one. On a leg of a split, an attempt that is not the
// first leaves the tiers out that were tried.
func (d *Destination) tier(info balancer.Info) int {
	shares, sum := d.shares(info)
	if shares[0] == full || sum == 0 {
		return 0
	}
	at := rand.IntN(sum)
	for i, share := range shares {
		if at -= share; at < 0 {
			return i
		}
	}
	return 0
}

// shares are how much each tier gets, and how much that is together.
func (d *Destination) shares(info balancer.Info) (shares [maxTiers]int, sum int) {
	rest := full
	for i, c := range d.tiers[:min(len(d.tiers), maxTiers)] {
		if d.Split && d.tried(c, info) {
			continue
		}
		shares[i] = min(available(c, info.Now), rest)
		rest -= shares[i]
		sum += shares[i]
	}
	return shares, sum
}

// Shares tells the parts of the leg's calls that go to each tier now; all are 0
// if nobody can be called.
func (d *Destination) Shares(now time.Duration) []float64 {
	if len(d.tiers) == 1 {
		return []float64{1}
	}
	shares, sum := d.shares(balancer.Info{Now: now})
	parts := make([]float64, len(d.tiers))
	for i := range parts {
		parts[i] = float64(shares[i]) / float64(max(sum, 1))
	}
	return parts
}

const (
	full             = 100_00 // all calls, in hundredths of a percent
	overprovisioning = 140    // percent, Envoy's
	maxTiers         = 33     // a target and what it may fail over to, see policy
)

// available is how much of all calls a tier can take, from 0 to full.
func available(c *cluster.Cluster, now time.Duration) int {
	healthy, all := c.View().Health(now)
	if all == 0 {
		return 0
	}
	return min(full, healthy*full/all*overprovisioning/100)
}

func (d *Destination) tried(c *cluster.Cluster, info balancer.Info) bool {
	return len(info.Tried) > 0 && c.View().Has(info.Tried)
}

// Error says why nobody can be called, nil if somebody can.
func (d *Destination) Error() error {
	var first error
	for _, c := range d.tiers {
		err := c.View().Error()
		if err == nil {
			return nil
		}
		first = cmp.Or(first, err)
	}
	return first
}
