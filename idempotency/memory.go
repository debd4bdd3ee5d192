package idempotency

import (
	"cmp"
	"container/heap"
	"container/list"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// MemoryOptions bound a [Memory].
type MemoryOptions struct {
	// MaxEntries is how many operations are remembered at most. Default 100,000.
	MaxEntries int
	// MaxBytes is about how much memory they may take, in bytes. Default 64 MiB.
	MaxBytes int
}

// Validate names every field that is out of range.
func (o MemoryOptions) Validate() error {
	var faults []error
	if o.MaxEntries < 0 {
		faults = append(faults, fmt.Errorf("MaxEntries is %d: must not be negative", o.MaxEntries))
	}
	if o.MaxBytes < 0 {
		faults = append(faults, fmt.Errorf("MaxBytes is %d: must not be negative", o.MaxBytes))
	}
	return errors.Join(faults...)
}

// Memory is a [Store] inside the process. What it knows ends with the process,
// and other processes know nothing of it.
//
// When it is full it forgets the done operation that was asked for least
// recently, although its time is not over: bounds come before the promise. A
// running operation is never forgotten before its time: if nothing else is left,
// new ones get [ErrFull]. Memory starts no goroutine.
type Memory struct {
	o MemoryOptions

	mu      sync.Mutex
	entries map[ID]*memoryEntry
	expiry  expiryHeap
	done    list.List // of *memoryEntry, the least recently used one first
	bytes   int
	evicted uint64
}

// memoryEntry is one operation. An outcome is kept as it was given: nobody
// modifies it.
type memoryEntry struct {
	id          ID
	fingerprint Fingerprint
	token       Token
	owners      int
	lease       time.Time // while it runs
	expires     time.Time
	outcome     Outcome
	size        int
	recency     *list.Element // once it is done
	index       int           // in the heap
}

// entrySize is about what an entry takes beside its outcome, by measurement.
const entrySize = 512

// NewMemory returns an empty store.
func NewMemory(o MemoryOptions) (*Memory, error) {
	if err := o.Validate(); err != nil {
		return nil, fmt.Errorf("idempotency memory: %w", err)
	}
	o.MaxEntries = cmp.Or(o.MaxEntries, 100_000)
	o.MaxBytes = cmp.Or(o.MaxBytes, 64<<20)
	return &Memory{o: o, entries: map[ID]*memoryEntry{}}, nil
}

// Begin implements [Store].
func (m *Memory) Begin(ctx context.Context, c Claim) (Entry, error) {
	if err := ctx.Err(); err != nil {
		return Entry{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	m.expire(now)
	e := m.entries[c.ID]
	switch {
	case e == nil:
		return m.add(c, now)
	case e.fingerprint != c.Fingerprint:
		return Entry{State: Mismatch}, nil
	case e.recency != nil:
		m.done.MoveToBack(e.recency)
		return Entry{State: Done, Outcome: e.outcome}, nil
	case e.token == c.Token: // asked again
	case now.Before(e.lease):
		return Entry{State: Running}, nil
	default:
		e.token = c.Token
		e.owners++
	}
	e.lease = now.Add(c.Lease)
	m.expireAt(e, now.Add(c.TTL))
	return Entry{State: First, Owner: e.owners}, nil
}

func (m *Memory) add(c Claim, now time.Time) (Entry, error) {
	if !m.room(1, entrySize) {
		return Entry{}, fmt.Errorf("%w: %d operations run or take all %d bytes", ErrFull, len(m.entries), m.o.MaxBytes)
	}
	e := &memoryEntry{
		id: c.ID, fingerprint: c.Fingerprint, token: c.Token, owners: 1,
		lease: now.Add(c.Lease), expires: now.Add(c.TTL), size: entrySize,
	}
	m.entries[c.ID] = e
	heap.Push(&m.expiry, e)
	m.bytes += e.size
	return Entry{State: First, Owner: 1}, nil
}

// Renew implements [Store].
func (m *Memory) Renew(ctx context.Context, id ID, t Token, lease time.Duration) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	m.expire(now)
	e := m.entries[id]
	if e == nil || e.token != t || e.recency != nil {
		return ErrLost
	}
	e.lease = now.Add(lease)
	if e.expires.Before(e.lease) {
		m.expireAt(e, e.lease)
	}
	return nil
}

// Complete implements [Store].
func (m *Memory) Complete(ctx context.Context, id ID, t Token, o Outcome, ttl time.Duration) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	m.expire(now)
	e := m.entries[id]
	switch {
	case e == nil || e.token != t:
		return ErrLost
	case e.recency != nil: // asked again
		return nil
	case !m.room(0, o.Size()):
		return fmt.Errorf("%w: an outcome of %d bytes does not fit", ErrFull, o.Size())
	}
	e.outcome = o
	e.size += o.Size()
	m.bytes += o.Size()
	e.recency = m.done.PushBack(e)
	m.expireAt(e, now.Add(ttl))
	return nil
}

// Abandon implements [Store].
func (m *Memory) Abandon(ctx context.Context, id ID, t Token) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.expire(time.Now())
	e := m.entries[id]
	switch {
	case e == nil:
		return nil
	case e.token != t || e.recency != nil:
		return ErrLost
	}
	m.remove(e)
	return nil
}

// Len returns how many operations the store knows.
func (m *Memory) Len() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.expire(time.Now())
	return len(m.entries)
}

// Evicted returns how many outcomes were forgotten before their time, for want
// of room.
func (m *Memory) Evicted() uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.evicted
}

// expire forgets what is over.
func (m *Memory) expire(now time.Time) {
	for len(m.expiry) > 0 && !now.Before(m.expiry[0].expires) {
		m.remove(m.expiry[0])
	}
}

// room makes room among what is done, and says whether there is enough. It
// forgets nothing in vain.
func (m *Memory) room(entries, bytes int) bool {
	free := 0
	for e := m.done.Front(); e != nil && m.bytes-free+bytes > m.o.MaxBytes; e = e.Next() {
		free += e.Value.(*memoryEntry).size
	}
	if m.bytes-free+bytes > m.o.MaxBytes || len(m.entries)-m.done.Len()+entries > m.o.MaxEntries {
		return false
	}
	for len(m.entries)+entries > m.o.MaxEntries || m.bytes+bytes > m.o.MaxBytes {
		m.remove(m.done.Front().Value.(*memoryEntry))
		m.evicted++
	}
	return true
}

func (m *Memory) remove(e *memoryEntry) {
	delete(m.entries, e.id)
	heap.Remove(&m.expiry, e.index)
	if e.recency != nil {
		m.done.Remove(e.recency)
	}
	m.bytes -= e.size
}

func (m *Memory) expireAt(e *memoryEntry, at time.Time) {
	e.expires = at
	heap.Fix(&m.expiry, e.index)
}

// expiryHeap has the entry that expires next at its root.
type expiryHeap []*memoryEntry

// Len implements [heap.Interface].
func (h *expiryHeap) Len() int { return len(*h) }

// Less implements [heap.Interface].
func (h *expiryHeap) Less(i, j int) bool { return (*h)[i].expires.Before((*h)[j].expires) }

// Swap implements [heap.Interface].
func (h *expiryHeap) Swap(i, j int) {
	all := *h
	all[i], all[j] = all[j], all[i]
	all[i].index, all[j].index = i, j
}

// Push implements [heap.Interface].
func (h *expiryHeap) Push(x any) {
	e := x.(*memoryEntry)
	e.index = len(*h)
	*h = append(*h, e)
}

// Pop implements [heap.Interface].
func (h *expiryHeap) Pop() any {
	old := *h
	e := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return e
}
