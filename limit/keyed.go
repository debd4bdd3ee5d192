package limit

import (
	"cmp"
	"container/list"
	"context"
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"

	"github.com/innermesh/innermesh/call"
)

// Bulkheads is a bulkhead for each key. Memory is bounded: of the keys that have
// nothing under way, the one that was used longest ago is forgotten; if all have,
// further keys share one bulkhead. Keys should be names that the process trusts,
// such as an authenticated tenant: whoever makes up keys makes up limits. Safe
// for concurrent use.
type Bulkheads struct{ keys keyed[*Bulkhead] }

// NewBulkheads returns bulkheads for at most keys keys, 10,000 if keys is 0.
func NewBulkheads(name string, o BulkheadOptions, keys int) *Bulkheads {
	return &Bulkheads{newKeyed(keys, func() *Bulkhead { return NewBulkhead(name, o) })}
}

// Enter is [Bulkhead.Enter] for a key.
func (b *Bulkheads) Enter(ctx context.Context, key string) (Leave, error) {
	e := b.keys.use(key)
	l, err := e.limit.Enter(ctx)
	if err != nil {
		e.users.Add(-1)
		return Leave{}, err
	}
	l.also = e
	return l, nil
}

// Len returns how many keys are remembered.
func (b *Bulkheads) Len() int { return b.keys.len() }

// Rates is a rate for each key. Memory is bounded: the key that was used longest
// ago is forgotten, and comes back with a full bucket. Keys should be names that
// the process trusts, as for [Bulkheads]. Safe for concurrent use.
type Rates struct{ keys keyed[*Rate] }

// NewRates returns rates for at most keys keys, 10,000 if keys is 0.
func NewRates(name string, o RateOptions, keys int) *Rates {
	return &Rates{newKeyed(keys, func() *Rate { return NewRate(name, o) })}
}

// Enter is [Rate.Enter] for a key.
func (r *Rates) Enter(ctx context.Context, key string) (Leave, error) {
	e := r.keys.use(key)
	defer e.users.Add(-1)
	return e.limit.Enter(ctx)
}

// EnterAt is [Rate.EnterAt] for a key.
func (r *Rates) EnterAt(now time.Duration, key string) error {
	e := r.keys.use(key)
	defer e.users.Add(-1)
	return e.limit.EnterAt(now)
}

// Len returns how many keys are remembered.
func (r *Rates) Len() int { return r.keys.len() }

// keyed is a bounded table of limits. It is generic because what differs between
// its two users is only the type of the limit.
type keyed[T any] struct {
	seed   maphash.Seed
	shards []shard[T]
	make   func() T
}

// shard is a part of the keys under a lock of its own.
type shard[T any] struct {
	mu      sync.Mutex
	most    int
	entries map[uint64]*list.Element // by hash: neither long nor telling
	recent  list.List                // of *entry[T], the last used first
	rest    *entry[T]                // for all that there is no room for
}

// entry is a key, by its hash, with its limit.
type entry[T any] struct {
	key   uint64
	limit T
	users atomic.Int64
}

func (e *entry[T]) leave(Leave, time.Duration, call.Reason) { e.users.Add(-1) }

func newKeyed[T any](most int, create func() T) keyed[T] {
	most = max(cmp.Or(most, 10_000), 1)
	shards := 1
	if most >= 256 { // so many that a shard's part is no small number
		shards = 16
	}
	k := keyed[T]{seed: maphash.MakeSeed(), shards: make([]shard[T], shards), make: create}
	for i := range k.shards {
		k.shards[i].most = most / shards
		k.shards[i].entries = make(map[uint64]*list.Element)
		k.shards[i].rest = &entry[T]{limit: create()}
	}
	return k
}

// use returns the key's limit and keeps it from being forgotten until its users
// count is taken back.
func (k *keyed[T]) use(name string) *entry[T] {
	key := maphash.String(k.seed, name)
	s := &k.shards[key%uint64(len(k.shards))]
	s.mu.Lock()
	defer s.mu.Unlock()
	if at, known := s.entries[key]; known {
		s.recent.MoveToFront(at)
		e := at.Value.(*entry[T])
		e.users.Add(1)
		return e
	}
	if len(s.entries) >= s.most && !s.forget() {
		s.rest.users.Add(1)
		return s.rest
	}
	e := &entry[T]{key: key, limit: k.make()}
	e.users.Add(1)
	s.entries[key] = s.recent.PushFront(e)
	return e
}

// forget drops the key that was used longest ago among those not in use. It
// looks at a few only: a call must not pay for all that are.
func (s *shard[T]) forget() bool {
	const few = 16
	at := s.recent.Back()
	for range few {
		if at == nil {
			return false
		}
		if e := at.Value.(*entry[T]); e.users.Load() == 0 {
			delete(s.entries, e.key)
			s.recent.Remove(at)
			return true
		}
		at = at.Prev()
	}
	return false
}

func (k *keyed[T]) len() (n int) {
	for i := range k.shards {
		s := &k.shards[i]
		s.mu.Lock()
		n += len(s.entries)
		s.mu.Unlock()
	}
	return n
}
