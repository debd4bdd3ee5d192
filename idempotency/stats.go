package idempotency

import "sync/atomic"

// Stats counts what became of requests with a key since the guard was made.
type Stats struct {
	// First were carried out as the first with their key.
	First uint64
	// Replayed were answered with the first's outcome.
	Replayed uint64
	// Waited had to wait for the first; they are counted again by what they got.
	Waited uint64
	// Conflicts got ErrRunning.
	Conflicts uint64
	// Mismatches got ErrMismatch.
	Mismatches uint64
	// Malformed had a key that is none, NoKey none where one is required.
	Malformed, NoKey uint64
	// NotKept got ErrNotKept.
	NotKept uint64
	// Lapsed met an operation whose owner had died.
	Lapsed uint64
	// Dropped ended in a way that is not kept, such as with 503.
	Dropped uint64
	// Lost lost their operation to another while they ran.
	Lost uint64
	// Refused got ErrStore, and Unguarded were carried out without a guard,
	// since the store could not be asked.
	Refused, Unguarded uint64
	// Unkept were carried out, and the store did not take their outcome.
	Unkept uint64
}

// Stats returns the counts so far.
func (g *Guard) Stats() Stats {
	c := &g.stats
	return Stats{
		First: c.first.Load(), Replayed: c.replayed.Load(), Waited: c.waited.Load(), Conflicts: c.conflicts.Load(),
		Mismatches: c.mismatches.Load(), Malformed: c.malformed.Load(), NoKey: c.noKey.Load(), NotKept: c.notKept.Load(),
		Lapsed: c.lapsed.Load(), Dropped: c.dropped.Load(), Lost: c.lost.Load(), Refused: c.refused.Load(),
		Unguarded: c.unguarded.Load(), Unkept: c.unkept.Load(),
	}
}

type counters struct {
	first, replayed, waited, conflicts, mismatches, malformed, noKey, notKept,
	lapsed, dropped, lost, refused, unguarded, unkept atomic.Uint64
}
