package balancer

import (
	"math/rand/v2"
	"sync/atomic"
)

// roundRobin takes the members in turn. Each picker starts somewhere else, so
// that clients which started together do not all begin with the first member.
type roundRobin struct {
	members []*Member
	next    atomic.Uint32
}

func newRoundRobin(members []*Member) *roundRobin {
	r := &roundRobin{members: members}
	r.next.Store(rand.Uint32())
	return r
}

func (r *roundRobin) Pick(info Info) int {
	n := uint32(len(r.members))
	if n == 0 {
		return -1
	}
	return firstFit(r.members, int(r.next.Add(1)%n), info)
}
