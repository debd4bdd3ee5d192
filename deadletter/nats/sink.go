package nats

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"github.com/innermesh/innermesh/deadletter"
)

// Sink keeps letters in a bucket, one a key. Every change is a compare and set on
// the letter's revision, which is the bucket's; so are claims, and leases are
// seen by all. It is safe for concurrent use.
//
// What the others do is heard of within moments, at the latest with the next
// resync: until then a letter of theirs may not be listed, but none is ever
// claimed twice. Clocks must agree to
// well within a lease.
type Sink struct {
	o      Options
	kv     jetstream.KeyValue
	stream jetstream.Stream

	stop    context.CancelFunc
	watcher jetstream.KeyWatcher
	done    sync.WaitGroup

	claiming sync.Mutex // in one process, claims need not get in each other's way

	mu      sync.Mutex
	closed  bool
	index   deadletter.Index
	gone    map[string]uint64 // removed, up to this revision: what is older is not to be believed
	markers []marker          // of what was removed, oldest first
}

// Open opens the bucket, or makes it, and reads what it has. ctx bounds that. js
// stays the caller's, and is needed until Close.
//
// It starts two goroutines, one that hears of changes and one that makes sure of
// them and clears up after letters that were removed; they end with Close.
func Open(ctx context.Context, js jetstream.JetStream, o Options) (*Sink, error) {
	if err := o.Validate(); err != nil {
		return nil, fmt.Errorf("open a bucket of dead letters: %w", err)
	}
	o = o.withDefaults()
	kv, err := js.KeyValue(ctx, o.Bucket)
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		kv, err = js.CreateKeyValue(ctx, jetstream.KeyValueConfig{
			Bucket: o.Bucket, Description: "dead letters", Storage: jetstream.FileStorage, Replicas: o.Replicas,
		})
	}
	if err != nil {
		return nil, fmt.Errorf("open bucket %q of dead letters: %w", o.Bucket, err)
	}
	s := &Sink{o: o, kv: kv, gone: map[string]uint64{}}
	if s.stream, err = durable(ctx, js, kv); err != nil {
		return nil, fmt.Errorf("open bucket %q of dead letters: %w", o.Bucket, err)
	}
	if err := s.watch(ctx); err != nil {
		return nil, fmt.Errorf("read bucket %q of dead letters: %w", o.Bucket, err)
	}
	return s, nil
}

// durable refuses a bucket that loses letters.
func durable(ctx context.Context, js jetstream.JetStream, kv jetstream.KeyValue) (jetstream.Stream, error) {
	stream, err := js.Stream(ctx, "KV_"+kv.Bucket())
	if err != nil {
		return nil, err
	}
	c := stream.CachedInfo().Config
	if c.Storage != jetstream.FileStorage || c.MaxAge != 0 {
		return nil, fmt.Errorf("it keeps entries in %s storage for %v: want file storage without a limit; choose another bucket",
			c.Storage, c.MaxAge)
	}
	return stream, nil
}

// Put implements [deadletter.Sink].
func (s *Sink) Put(ctx context.Context, l deadletter.Letter) error {
	if err := s.usable(ctx); err != nil {
		return err
	}
	if err := deadletter.Fit(ctx, &l); err != nil {
		return err
	}
	if err := s.room(&l); err != nil {
		return err
	}
	l.Owner, l.LeasedUntil, l.Revision = "", time.Time{}, 0
	data, err := deadletter.Encode(l)
	if err != nil {
		return err
	}
	l.Revision, err = s.kv.Create(ctx, l.ID, data)
	if err != nil {
		return s.fault("keep", &l, err)
	}
	s.know(l)
	return nil
}

// List implements [deadletter.Sink].
func (s *Sink) List(ctx context.Context, q deadletter.Query) (deadletter.Page, error) {
	if err := s.usable(ctx); err != nil {
		return deadletter.Page{}, err
	}
	s.mu.Lock()
	ids, next := s.index.List(q)
	s.mu.Unlock()
	found := make([]*deadletter.Letter, len(ids))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(16)
	for i, id := range ids {
		group.Go(func() error {
			l, err := s.get(ctx, id)
			switch {
			case errors.Is(err, deadletter.ErrNotFound):
				return nil // delivered meanwhile
			case err != nil:
				return err
			}
			if q.Filter.Match(&l) {
				found[i] = &l
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return deadletter.Page{}, err
	}
	page := deadletter.Page{Next: next}
	for _, l := range found {
		if l != nil {
			page.Letters = append(page.Letters, *l)
		}
	}
	return page, nil
}

// Claim implements [deadletter.Sink].
func (s *Sink) Claim(ctx context.Context, c deadletter.Claim) ([]deadletter.Letter, error) {
	if err := errors.Join(s.usable(ctx), c.Prepare()); err != nil {
		return nil, err
	}
	s.claiming.Lock()
	defer s.claiming.Unlock()
	more := c
	more.Limit = 4*c.Limit + 16 // others may be faster with some
	s.mu.Lock()
	ids := s.index.Due(more, nil)
	s.mu.Unlock()
	var given []deadletter.Letter
	for _, id := range ids {
		if len(given) == c.Limit {
			break
		}
		l, err := s.claim(ctx, id, c)
		switch {
		case err == nil:
			given = append(given, l)
		case errors.Is(err, deadletter.ErrStale) || errors.Is(err, deadletter.ErrNotFound):
		case len(given) > 0:
			return given, nil // these are the caller's; the fault shows again next time
		default:
			return nil, err
		}
	}
	return given, nil
}

// claim leases one letter if it is still due.
func (s *Sink) claim(ctx context.Context, id string, c deadletter.Claim) (deadletter.Letter, error) {
	l, err := s.get(ctx, id)
	if err != nil {
		return l, err
	}
	if !c.Filter.Match(&l) || l.Leased(c.Now) || l.NotBefore.After(c.Now) || l.Expired(c.Now) {
		return l, deadletter.ErrStale
	}
	c.Sign(&l)
	return s.Update(ctx, l)
}

// Update implements [deadletter.Sink].
func (s *Sink) Update(ctx context.Context, l deadletter.Letter) (deadletter.Letter, error) {
	if err := s.usable(ctx); err != nil {
		return deadletter.Letter{}, err
	}
	if err := deadletter.Fit(ctx, &l); err != nil {
		return deadletter.Letter{}, err
	}
	if l.Revision == 0 { // of the server's, which would take it for new
		return deadletter.Letter{}, s.missing(ctx, l.ID)
	}
	held := l.Revision
	l.Revision = 0
	data, err := deadletter.Encode(l)
	if err != nil {
		return deadletter.Letter{}, err
	}
	l.Revision, err = s.kv.Update(ctx, l.ID, data, held)
	if errors.Is(err, jetstream.ErrKeyRevisionMismatch) {
		return deadletter.Letter{}, s.missing(ctx, l.ID)
	}
	if err != nil {
		return deadletter.Letter{}, s.fault("change", &l, err)
	}
	s.know(l)
	return l, nil
}

// Remove implements [deadletter.Sink].
func (s *Sink) Remove(ctx context.Context, l deadletter.Letter) error {
	if err := s.usable(ctx); err != nil {
		return err
	}
	if l.Revision == 0 {
		return s.missing(ctx, l.ID)
	}
	err := s.kv.Purge(ctx, l.ID, jetstream.LastRevision(l.Revision))
	if errors.Is(err, jetstream.ErrKeyRevisionMismatch) {
		return s.missing(ctx, l.ID)
	}
	if err != nil {
		return s.fault("remove", &l, err)
	}
	s.forget(l.ID, l.Revision)
	return nil
}

// Len returns how many letters there are, as far as this process has heard.
func (s *Sink) Len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.index.Len()
}

// Close ends what Open has started. The bucket stays, and so does the caller's
// connection. A second Close does nothing. It returns nil, after 5 s at most if
// the server does not answer.
func (s *Sink) Close() error {
	s.mu.Lock()
	first := !s.closed
	s.closed = true
	s.mu.Unlock()
	if !first {
		return nil
	}
	_ = s.watcher.Stop() // a server that does not hear of it forgets the watch by itself
	s.stop()
	s.done.Wait()
	return nil
}

// get reads one letter.
func (s *Sink) get(ctx context.Context, id string) (deadletter.Letter, error) {
	e, err := s.kv.Get(ctx, id)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return deadletter.Letter{}, s.missing(ctx, id)
	}
	if err != nil {
		return deadletter.Letter{}, s.fault("read", &deadletter.Letter{ID: id}, err)
	}
	l, err := deadletter.Decode(e.Value())
	if err != nil {
		return l, fmt.Errorf("read letter %s of bucket %q: %w", id, s.o.Bucket, err)
	}
	l.Revision = e.Revision()
	s.know(l)
	return l, nil
}

// missing says which it is: the letter is gone, or it has changed. What is known
// of it is brought up to date.
func (s *Sink) missing(ctx context.Context, id string) error {
	e, err := s.kv.Get(ctx, id)
	switch {
	case errors.Is(err, jetstream.ErrKeyNotFound):
		s.mu.Lock()
		if have, ok := s.index.Find(id); ok {
			s.index.Delete(id)
			s.gone[id] = max(s.gone[id], have.Revision)
		}
		s.mu.Unlock()
		return fmt.Errorf("letter %s: %w", id, deadletter.ErrNotFound)
	case err != nil:
		return s.fault("read", &deadletter.Letter{ID: id}, err)
	}
	if l, err := deadletter.Decode(e.Value()); err == nil {
		l.Revision = e.Revision()
		s.know(l)
	}
	return fmt.Errorf("letter %s: %w", id, deadletter.ErrStale)
}

func (s *Sink) usable(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return fmt.Errorf("bucket %q: %w", s.o.Bucket, deadletter.ErrClosed)
	}
	return ctx.Err()
}

func (s *Sink) room(l *deadletter.Letter) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, there := s.index.Find(l.ID); there {
		return nil // the server says so
	}
	if s.index.Len() >= s.o.MaxLetters || s.index.Bytes()+l.Size() > s.o.MaxSize {
		return fmt.Errorf("keep letter %s in bucket %q, which has %d letters of %d bytes: %w",
			l.ID, s.o.Bucket, s.index.Len(), s.index.Bytes(), deadletter.ErrFull)
	}
	return nil
}

// fault puts a server's error into our words.
func (s *Sink) fault(what string, l *deadletter.Letter, err error) error {
	switch {
	case errors.Is(err, jetstream.ErrKeyExists):
		err = deadletter.ErrExists
	case errors.Is(err, natsgo.ErrMaxPayload):
		err = fmt.Errorf("%w: %w, with the server's max_payload", err, deadletter.ErrTooLarge)
	}
	return fmt.Errorf("%s letter %s of bucket %q: %w", what, l.ID, s.o.Bucket, err)
}
