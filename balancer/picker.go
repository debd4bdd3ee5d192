package balancer

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Picker chooses among the members it was built with.
//
// Pick returns the index of a member, or -1 if none may be picked now. It never
// blocks and never returns a closed member. It returns a member that was tried
// already only if every open one was. Safe for concurrent use.
type Picker interface {
	Pick(Info) int
}

// Info is what a picker may know about an attempt.
type Info struct {
	// Now is the moment of the pick, on the clock of [Member.CloseUntil].
	Now time.Duration
	// Tried are the members that this call has been to already.
	Tried []*Member
}

func (i Info) fresh(m *Member) bool {
	return m.Open(i.Now) && !slices.Contains(i.Tried, m)
}

// Policy is the name of an algorithm.
type Policy string

// The algorithms.
const (
	// P2C takes the less loaded of two different members drawn at random.
	P2C Policy = "p2c"
	// RoundRobin takes one after the other, from a random start.
	RoundRobin Policy = "round_robin"
)

// New builds a picker over members; an empty policy means [P2C]. The slice is
// kept and must not change.
func New(p Policy, members []*Member) (Picker, error) {
	switch p {
	case P2C, "":
		return newP2C(members), nil
	case RoundRobin:
		return newRoundRobin(members), nil
	default:
		return nil, fmt.Errorf("balancer policy %q: want one of %s", p, strings.Join([]string{string(P2C), string(RoundRobin)}, ", "))
	}
}

// firstFit is the way out when luck did not find a member: the first fresh one
// from start on, else the first open one, else none.
func firstFit(members []*Member, start int, info Info) int {
	open := -1
	for k := range members {
		i := (start + k) % len(members)
		if info.fresh(members[i]) {
			return i
		}
		if open < 0 && members[i].Open(info.Now) {
			open = i
		}
	}
	return open
}
