package deadline

import (
	"container/heap"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/innermesh/innermesh/internal/mono"
)

// Vigil watches over many answers, that none which is waited for is silent for
// too long. It has one timer for each of a few groups of them; what moves only
// leaves a stamp, which is looked at when the timer goes off. The zero Vigil
// watches over nothing; it has no goroutine, and no timer once nothing was waited
// for as long as a silence may last.
type Vigil struct {
	// After is how long a silence may last. Zero or less is for ever.
	After time.Duration

	groups [8]group // that concurrent calls seldom meet at one lock
}

// Silence is one of what a [Vigil] watches over. The zero Silence is watched by
// nobody. Its methods may be called from several goroutines.
type Silence struct {
	group   atomic.Pointer[group] // nil is nobody
	waiting atomic.Int32          // reads and writes under way
	moved   atomic.Int64          // when something came or went last
	listed  atomic.Bool

	// Guarded by the group.
	after time.Duration
	ends  Stallable
	due   time.Duration // when it is looked at next
	at    int           // its place in the group
}

// Stallable is what ends when it was silent for too long. Stall must be quick; it
// may still come just after [Silence.End].
type Stallable interface{ Stall() }

// Start puts a silence under a vigil, in place of the former if there was one.
func (s *Silence) Start(v *Vigil, ends Stallable) {
	s.End()
	if v.After <= 0 {
		return
	}
	g := &v.groups[rand.Uint32()%uint32(len(v.groups))]
	g.mu.Lock()
	s.after, s.ends = v.After, ends
	g.mu.Unlock()
	s.group.Store(g)
}

// Wait says that somebody now waits for something to come or go. [Silence.Move]
// must follow.
func (s *Silence) Wait() {
	g := s.group.Load()
	if g != nil && s.waiting.Load() == 0 { // nobody has listened until now
		s.Stir()
	}
	s.waiting.Add(1)
	if g != nil && s.listed.CompareAndSwap(false, true) {
		g.add(s)
	}
}

// Move ends a Wait: something has come or gone.
func (s *Silence) Move() {
	s.Stir()
	s.waiting.Add(-1)
}

// Stir says that something has come or gone, whether or not anybody waits.
func (s *Silence) Stir() {
	if s.group.Load() != nil {
		s.moved.Store(int64(mono.Now()))
	}
}

// End takes the silence out of its vigil. It may be called more than once.
func (s *Silence) End() {
	if g := s.group.Swap(nil); g != nil && s.listed.Load() {
		g.remove(s)
	}
}

// group is some of the silences, in the order in which they are looked at.
type group struct {
	mu    sync.Mutex
	all   byDue
	timer *time.Timer
	wakes time.Duration // when the timer goes off, 0 is never
}

func (g *group) add(s *Silence) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.push(s, mono.Now()+s.after)
}

func (g *group) push(s *Silence, due time.Duration) {
	s.due = due
	heap.Push(&g.all, s)
	g.wake()
}

func (g *group) remove(s *Silence) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if s.at < len(g.all) && g.all[s.at] == s {
		heap.Remove(&g.all, s.at)
		s.listed.Store(false)
	}
}

// wake has the timer go off for the first, or earlier.
func (g *group) wake() {
	if len(g.all) == 0 {
		return
	}
	at := g.all[0].due
	switch left := at - mono.Now(); {
	case g.wakes != 0 && g.wakes <= at:
		return
	case g.timer == nil:
		g.timer = time.AfterFunc(left, g.look)
	default:
		g.timer.Reset(left)
	}
	g.wakes = at
}

// look ends what was silent for too long. What nobody waits for is let go: it
// comes back with the next who does.
func (g *group) look() {
	var over []Stallable
	g.mu.Lock()
	g.wakes = 0
	for now := mono.Now(); len(g.all) > 0 && g.all[0].due <= now; {
		s := heap.Pop(&g.all).(*Silence)
		s.listed.Store(false) // before the look at who waits: one who comes now finds it so
		if s.waiting.Load() == 0 {
			continue
		}
		due := time.Duration(s.moved.Load()) + s.after
		switch {
		case due <= now:
			over = append(over, s.ends)
		case s.listed.CompareAndSwap(false, true):
			s.due = due
			heap.Push(&g.all, s)
		}
	}
	g.wake()
	g.mu.Unlock()
	for _, s := range over { // under no lock
		s.Stall()
	}
}

// byDue is a heap.
type byDue []*Silence

// Len implements [heap.Interface].
func (h *byDue) Len() int { return len(*h) }

// Less implements [heap.Interface].
func (h *byDue) Less(i, j int) bool { return (*h)[i].due < (*h)[j].due }

// Swap implements [heap.Interface].
func (h *byDue) Swap(i, j int) {
	all := *h
	all[i], all[j] = all[j], all[i]
	all[i].at, all[j].at = i, j
}

// Push implements [heap.Interface].
func (h *byDue) Push(x any) {
	s := x.(*Silence)
	s.at = len(*h)
	*h = append(*h, s)
}

// Pop implements [heap.Interface].
func (h *byDue) Pop() any {
	last := len(*h) - 1
	s := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	return s
}
