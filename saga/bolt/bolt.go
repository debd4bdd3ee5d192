package bolt

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"github.com/innermesh/innermesh/saga"
)

// Log is a [saga.Log] in a file. Changes that come together go to the disk
// together, with one wait for it. Of sagas that have not ended a few words each
// are kept in memory.
type Log struct {
	path    string
	db      *bbolt.DB
	changes chan *change
	stop    chan struct{}
	ended   chan struct{}
	close   sync.Once
	err     error // of closing

	mu   sync.RWMutex
	open map[string]*saga.Record // heads of sagas that have not ended; a head is never changed
}

// The file has sagas by ID, those that have ended apart, which are found by time
// and ID as well. The names change when what they hold changes its meaning.
var (
	openBucket  = []byte("saga.open.1")
	endedBucket = []byte("saga.ended.1")
	timesBucket = []byte("saga.times.1")
	asideBucket = []byte("saga.aside")
)

// Open opens the file, and starts the one goroutine that writes to it; Close ends
// it. A record of a saga under way that can not be read is [saga.ErrCorrupt].
func Open(o Options) (*Log, error) {
	if err := o.Validate(); err != nil {
		return nil, fmt.Errorf("saga bolt: %w", err)
	}
	o = o.withDefaults()
	db, err := bbolt.Open(o.Path, 0o600, &bbolt.Options{
		Timeout: o.OpenTimeout, NoSync: o.NoSync, NoStatistics: true, NoFreelistSync: true, FreelistType: bbolt.FreelistMapType,
	})
	if errors.Is(err, berrors.ErrTimeout) {
		return nil, fmt.Errorf("open the log of sagas %s: another process has it open: %w", o.Path, err)
	}
	if err != nil {
		return nil, fmt.Errorf("open the log of sagas %s: %w", o.Path, err)
	}
	l := &Log{
		path: o.Path, db: db, open: map[string]*saga.Record{},
		changes: make(chan *change), stop: make(chan struct{}), ended: make(chan struct{}),
	}
	if err := guarded(func() error { return db.Update(func(tx *bbolt.Tx) error { return l.load(tx, o.SetAside) }) }); err != nil {
		_ = db.Close() // the first error says more
		return nil, fmt.Errorf("open the log of sagas %s: %w", o.Path, err)
	}
	go l.write()
	return l, nil
}

// load reads what is under way. Whoever had leased it is dead.
func (l *Log) load(tx *bbolt.Tx, setAside bool) error {
	for _, name := range [][]byte{openBucket, endedBucket, timesBucket} {
		if _, err := tx.CreateBucketIfNotExists(name); err != nil {
			return err
		}
	}
	var faults []error
	spoilt := map[string][]byte{}
	err := tx.Bucket(openBucket).ForEach(func(id, data []byte) error {
		r, err := saga.Decode(data)
		if err == nil && r.ID != string(id) {
			err = fmt.Errorf("%w: it is that of saga %.220q", saga.ErrCorrupt, r.ID)
		}
		if err != nil {
			if spoilt[string(id)] = slices.Clone(data); !setAside || !errors.Is(err, saga.ErrCorrupt) {
				faults = append(faults, fmt.Errorf("saga %.220q: %w", id, err))
			}
			return nil
		}
		r.Lease(time.Time{}, 0)
		l.open[r.ID] = head(&r)
		return nil
	})
	if err = cmp.Or(err, errors.Join(faults...)); err != nil || len(spoilt) == 0 {
		return err
	}
	aside, err := tx.CreateBucketIfNotExists(asideBucket)
	if err != nil {
		return err
	}
	for id, data := range spoilt {
		if err := errors.Join(aside.Put([]byte(id), data), tx.Bucket(openBucket).Delete([]byte(id))); err != nil {
			return err
		}
	}
	return nil
}

// head is a record without its weight.
func head(r *saga.Record) *saga.Record {
	h := *r
	h.State, h.Steps, h.Error, h.Note, h.Input, h.Key = nil, nil, "", "", "", ""
	return &h
}

// Create implements [saga.Log].
func (l *Log) Create(ctx context.Context, r saga.Record, lease time.Duration) error {
	if err := saga.Fit(ctx, &r); err != nil {
		return err
	}
	r.Token = 1
	return l.put(ctx, &r, lease, func(b *batch) error {
		switch _, known, err := b.token(r.ID); {
		case err != nil:
			return err
		case known:
			return saga.ErrExists
		}
		return nil
	})
}

// Save implements [saga.Log].
func (l *Log) Save(ctx context.Context, r saga.Record, lease time.Duration) error {
	if err := saga.Fit(ctx, &r); err != nil {
		return err
	}
	return l.put(ctx, &r, lease, func(b *batch) error {
		switch token, known, err := b.token(r.ID); {
		case err != nil:
			return err
		case !known:
			return saga.ErrNotFound
		case token != r.Token:
			return saga.ErrFenced
		}
		return nil
	})
}

// put writes a record if check agrees.
func (l *Log) put(ctx context.Context, r *saga.Record, lease time.Duration, check func(*batch) error) error {
	r.Lease(time.Now(), lease)
	data, err := saga.Encode(r) // here, so that many callers share the work
	if err != nil {
		return err
	}
	return l.told(r.ID, l.change(ctx, func(b *batch) error {
		if err := check(b); err != nil {
			return err
		}
		return b.put(r, data)
	}))
}

// Claim implements [saga.Log].
func (l *Log) Claim(ctx context.Context, c saga.Claim) (given []saga.Record, err error) {
	if err := cmp.Or(ctx.Err(), c.Prepare()); err != nil {
		return nil, err
	}
	if len(l.due(&c)) == 0 { // as most often: no need to write
		return nil, l.usable()
	}
	err = l.change(ctx, func(b *batch) error {
		given = nil
		for _, h := range l.due(&c) {
			if len(given) == c.Limit {
				break
			}
			if _, busy := b.changed[h.ID]; busy { // what becomes of it is not seen yet
				continue
			}
			r, err := saga.Decode(b.open.Get([]byte(h.ID)))
			if err != nil {
				return fmt.Errorf("saga %s: %w", h.ID, err)
			}
			c.Sign(&r, time.Now())
			data, err := saga.Encode(&r)
			if err != nil {
				return err
			}
			if err := b.put(&r, data); err != nil {
				return err
			}
			given = append(given, r)
		}
		return nil
	})
	if err != nil {
		return nil, l.told("", err)
	}
	return given, nil
}

// due returns the heads of sagas that a claim asks for, those due the longest
// first.
func (l *Log) due(c *saga.Claim) (due []*saga.Record) {
	now := time.Now()
	l.mu.RLock()
	for _, h := range l.open {
		if c.Match(h, now) {
			due = append(due, h)
		}
	}
	l.mu.RUnlock()
	slices.SortFunc(due, func(a, b *saga.Record) int { return cmp.Or(a.NotBefore.Compare(b.NotBefore), cmp.Compare(a.ID, b.ID)) })
	return due
}

// List implements [saga.Log].
func (l *Log) List(ctx context.Context, q saga.Query) (p saga.Page, err error) {
	if err := ctx.Err(); err != nil {
		return p, err
	}
	err = guarded(func() error {
		return l.db.View(func(tx *bbolt.Tx) error {
			if len(q.IDs) > 0 {
				p, err = l.pick(tx, &q)
			} else {
				p, err = l.scan(ctx, tx, &q)
			}
			return err
		})
	})
	return p, l.told("", err)
}

// pick looks up the IDs of a query.
func (l *Log) pick(tx *bbolt.Tx, q *saga.Query) (p saga.Page, err error) {
	ids := slices.Clone(q.IDs)
	slices.Sort(ids)
	for _, id := range slices.Compact(ids) {
		data := tx.Bucket(openBucket).Get([]byte(id))
		if data == nil {
			data = tx.Bucket(endedBucket).Get([]byte(id))
		}
		if data == nil {
			continue
		}
		r, err := l.decode(id, data)
		if err != nil {
			return p, err
		}
		if add(&p, q, r) {
			break
		}
	}
	return p, nil
}

// scan goes through both buckets in the order of IDs.
func (l *Log) scan(ctx context.Context, tx *bbolt.Tx, q *saga.Query) (p saga.Page, err error) {
	open, ended := tx.Bucket(openBucket).Cursor(), tx.Bucket(endedBucket).Cursor()
	a, dataA := open.Seek([]byte(q.After))
	b, dataB := ended.Seek([]byte(q.After))
	if !wants(q, false) {
		a = nil
	}
	if !wants(q, true) {
		b = nil
	}
	for n := 0; a != nil || b != nil; n++ {
		if n%1000 == 999 && ctx.Err() != nil {
			return p, ctx.Err()
		}
		var id, data []byte
		if b == nil || a != nil && string(a) < string(b) {
			id, data = a, dataA
			a, dataA = open.Next()
		} else {
			id, data = b, dataB
			b, dataB = ended.Next()
		}
		r, err := l.decode(string(id), data)
		if err != nil {
			return p, err
		}
		if add(&p, q, r) {
			break
		}
	}
	return p, nil
}

// wants says whether a query can match sagas that have ended, or have not.
func wants(q *saga.Query, ended bool) bool {
	return len(q.Statuses) == 0 || slices.ContainsFunc(q.Statuses, func(s saga.Status) bool { return s.Ended() == ended })
}

// decode reads a record, with the lease that it has now.
func (l *Log) decode(id string, data []byte) (saga.Record, error) {
	r, err := saga.Decode(data)
	if err != nil {
		return r, fmt.Errorf("saga %.220q: %w", id, err)
	}
	l.mu.RLock()
	defer l.mu.RUnlock()
	if h := l.open[id]; h != nil && h.Token == r.Token {
		r.Owner, r.LeasedUntil = h.Owner, h.LeasedUntil
	}
	return r, nil
}

// add adds a record to a page if the query means it, and says whether the page is
// full.
func add(p *saga.Page, q *saga.Query, r saga.Record) (full bool) {
	if !q.Match(&r) {
		return false
	}
	if len(p.Sagas) == q.Most() {
		p.Next = p.Sagas[len(p.Sagas)-1].ID
		return true
	}
	p.Sagas = append(p.Sagas, r)
	return false
}

// Expire implements [saga.Log].
func (l *Log) Expire(ctx context.Context, before time.Time, limit int) (n int, err error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	err = l.change(ctx, func(b *batch) error {
		n = 0
		var old [][]byte
		c := b.times.Cursor()
		for k, _ := c.First(); k != nil && len(old) < limit && endOf(k).Before(before); k, _ = c.Next() {
			old = append(old, slices.Clone(k))
		}
		for _, k := range old {
			if err := b.broke(errors.Join(b.times.Delete(k), b.done.Delete(k[8:]))); err != nil {
				return err
			}
			n++
		}
		return nil
	})
	return n, l.told("", err)
}

// Aside returns the records that were set aside, as they are in the file, by ID.
func (l *Log) Aside() (records map[string][]byte, err error) {
	records = map[string][]byte{}
	err = l.db.View(func(tx *bbolt.Tx) error {
		if b := tx.Bucket(asideBucket); b != nil {
			return b.ForEach(func(id, data []byte) error {
				records[string(id)] = slices.Clone(data)
				return nil
			})
		}
		return nil
	})
	return records, l.told("", err)
}

// Close ends what is being written, and closes the file. Later calls get
// [saga.ErrClosed].
func (l *Log) Close() error {
	l.close.Do(func() {
		close(l.stop)
		<-l.ended
		l.err = l.db.Close() // waits for readers
	})
	return l.err
}

func (l *Log) usable() error {
	select {
	case <-l.stop:
		return fmt.Errorf("%s: %w", l.path, saga.ErrClosed)
	default:
		return nil
	}
}

// told says which file, and which saga, an error is about.
func (l *Log) told(id string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, berrors.ErrDatabaseNotOpen):
		err = saga.ErrClosed
	}
	if id != "" {
		return fmt.Errorf("%s: saga %s: %w", l.path, id, err)
	}
	return fmt.Errorf("%s: %w", l.path, err)
}

// timeKey is where a saga that has ended stands by time.
func timeKey(at time.Time, id string) []byte {
	return append(binary.BigEndian.AppendUint64(nil, uint64(at.UnixNano())^1<<63), id...)
}

func endOf(key []byte) time.Time { return time.Unix(0, int64(binary.BigEndian.Uint64(key)^1<<63)) }
