package cluster

import (
	"cmp"
	"maps"
	"slices"

	"github.com/innermesh/innermesh/balancer"
	"github.com/innermesh/innermesh/discovery"
	"github.com/innermesh/innermesh/internal/mono"
	"github.com/innermesh/innermesh/policy"
)

// roster is who there is: all that discovery told last, and the members among
// them, which are those that this process calls. The cluster's lock guards it.
//
// Most updates touch few of many instances, so it goes along the old list and the
// new one side by side, and looks closer only at what is not the same.
type roster struct {
	all     []discovery.Instance // by ID
	members []*Member            // in the same order; nil for who is not called
	part    bool                 // there are more than are called
}

// called returns the members.
func (r *roster) called() []*Member {
	members := make([]*Member, 0, len(r.members))
	for _, m := range r.members {
		if m != nil {
			members = append(members, m)
		}
	}
	return members
}

// changes are what an update did to the members.
type changes struct {
	leave, join []*Member // who may not be called any more, and who may now
	gone        []*Member // who is not a member any more
	reweighed   bool      // weights or places of others are not what they were
}

// byID orders instances as snapshots are.
func byID(a, b discovery.Instance) int { return cmp.Compare(a.ID, b.ID) }

// follow takes in a snapshot. Touched are the places in it of who is new or not
// as before, gone the members who are not in it. Moved says that others may be
// called than before, or from elsewhere.
func (c *Cluster) follow(all []discovery.Instance) (touched []int, gone []*Member, moved bool) {
	r := &c.roster
	members := make([]*Member, len(all))
	lose := func(i int) {
		if m := r.members[i]; m != nil {
			gone = append(gone, m)
		}
		moved = true
	}
	i, j := 0, 0
	for {
		from := j
		for i < len(r.all) && j < len(all) && same(&r.all[i], &all[j]) {
			i, j = i+1, j+1
		}
		copy(members[from:j], r.members[i-(j-from):i])
		switch {
		case j == len(all):
			for ; i < len(r.all); i++ {
				lose(i)
			}
			r.all, r.members = all, members
			return touched, gone, moved
		case i < len(r.all) && r.all[i].ID < all[j].ID:
			lose(i)
			i++
			continue
		case i == len(r.all) || r.all[i].ID != all[j].ID:
			if j > 0 && all[j-1].ID > all[j].ID { // a source that does not keep to its contract
				return c.follow(slices.SortedStableFunc(slices.Values(all), byID))
			}
			moved = true
		case r.all[i].Address != all[j].Address:
			lose(i)
			i++
		default:
			members[j] = r.members[i]
			moved = moved || c.callable(&r.all[i]) != c.callable(&all[j]) || placeOf(&r.all[i]) != placeOf(&all[j])
			i++
		}
		touched = append(touched, j)
		j++
	}
}

// same is [discovery.Instance.Equal] without copying either.
func same(a, b *discovery.Instance) bool {
	return a.ID == b.ID && a.Address == b.Address && a.Weight == b.Weight && a.Health == b.Health &&
		a.Zone == b.Zone && a.Region == b.Region && a.Datacenter == b.Datacenter && a.Node == b.Node &&
		(len(a.Tags)+len(b.Tags) == 0 || slices.Equal(a.Tags, b.Tags)) &&
		(len(a.Meta)+len(b.Meta) == 0 || maps.Equal(a.Meta, b.Meta))
}

// enroll makes members of the instances that are called. It looks at those that
// were touched, or at all if others than before may be called.
func (c *Cluster) enroll(s *Settings, touched []int, gone []*Member, moved bool) (ch changes) {
	for _, m := range gone {
		ch.lose(m)
	}
	for _, j := range touched {
		if m := c.roster.members[j]; m != nil {
			ch.reweighed = m.update(c.roster.all[j]) || ch.reweighed
		}
	}
	var chosen []bool
	if moved {
		chosen = c.choose(s)
	}
	if chosen != nil || c.roster.part && moved {
		for j := range c.roster.all {
			c.admit(&ch, s, j, chosen == nil || chosen[j])
		}
		c.roster.part = chosen != nil
	} else if !c.roster.part {
		for _, j := range touched {
			c.admit(&ch, s, j, true)
		}
	}
	for _, m := range ch.gone {
		c.unwatch(m)
	}
	return ch
}

// admit makes an instance a member if it is wanted, and callable if it may be.
func (c *Cluster) admit(ch *changes, s *Settings, j int, wanted bool) {
	m := c.roster.members[j]
	switch {
	case wanted && m == nil:
		m = newMember(c, c.roster.all[j])
		c.roster.members[j] = m
		c.arm(m, s)
		c.watch(m)
		if c.answered { // who was there before us is warm
			c.floor.warm(mono.Now(), m)
		}
	case !wanted && m != nil:
		c.roster.members[j] = nil
		ch.lose(m)
		return
	case m == nil:
		return
	}
	switch callable := c.callable(&c.roster.all[j]); {
	case callable && !m.isCallable:
		ch.join = append(ch.join, m)
	case !callable && m.isCallable:
		ch.leave = append(ch.leave, m)
	}
	m.isCallable = c.callable(&c.roster.all[j])
}

func (c *changes) lose(m *Member) {
	if m.isCallable {
		m.isCallable = false
		c.leave = append(c.leave, m)
	}
	c.gone = append(c.gone, m)
}

// levels are the callable members by distance, nearest first.
func (c *Cluster) levels(s *Settings) [][]*Member {
	var levels [balancer.Distances][]*Member
	from := c.place(s)
	for j, m := range c.roster.members {
		if m == nil || !m.isCallable {
			continue
		}
		d := balancer.SameZone
		if from != (balancer.Place{}) {
			d = from.Distance(placeOf(&c.roster.all[j]))
		}
		if levels[d] == nil {
			levels[d] = make([]*Member, 0, len(c.roster.members)-j)
		}
		levels[d] = append(levels[d], m)
	}
	return slices.DeleteFunc(levels[:], func(l []*Member) bool { return len(l) == 0 })
}

// choose says which instances are called, by their places; nil is all. Critical
// ones are not among a part: it is large enough to serve.
func (c *Cluster) choose(s *Settings) []bool {
	if s.subset.above == 0 || len(c.roster.all) <= s.subset.above {
		return nil
	}
	levels := make([][]int, balancer.Distances)
	from := c.place(s)
	for j := range c.roster.all {
		if i := &c.roster.all[j]; c.callable(i) {
			d := from.Distance(placeOf(i))
			levels[d] = append(levels[d], j)
		}
	}
	chosen := make([]bool, len(c.roster.all))
	for _, level := range levels {
		for _, k := range c.part(level, s.subset) {
			chosen[level[k]] = true
		}
	}
	return chosen
}

// part is the subset of one level, as places in it.
func (c *Cluster) part(level []int, s subsetting) []int {
	if len(level) <= s.above {
		all := make([]int, len(level))
		for k := range all {
			all[k] = k
		}
		return all
	}
	ids := make([]uint64, len(level))
	for k, j := range level {
		ids[k] = balancer.Hash(c.roster.all[j].ID)
	}
	return balancer.Subset(ids, c.o.Seat, s.size)
}

// callable says whether discovery has nothing against calls to an instance.
func (c *Cluster) callable(i *discovery.Instance) bool {
	return i.Health == discovery.Passing || i.Health == discovery.Warning && !c.Target.OnlyPassing
}

func placeOf(i *discovery.Instance) balancer.Place {
	return balancer.Place{Datacenter: i.Datacenter, Region: i.Region, Zone: i.Zone}
}

// place is where this process is, as far as that counts.
func (c *Cluster) place(s *Settings) balancer.Place {
	from := c.o.Place
	switch s.prefer {
	case policy.PreferNone:
		return balancer.Place{}
	case policy.PreferRegion:
		from.Zone = ""
	}
	return from
}
