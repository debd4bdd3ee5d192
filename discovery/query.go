package discovery

import (
	"context"
	"errors"
	"fmt"
)

// Query names a part of what a source knows.
type Query struct {
	// Service is the logical name.
	Service string
	// Filter is an expression that chooses instances, see [Filter]. Default: all.
	Filter string
	// Datacenter, Namespace, Partition and Peer say where else to look than
	// the source does by itself.
	Datacenter, Namespace, Partition, Peer string
}

// Querier is a [Source] that answers more than names.
type Querier interface {
	// WatchQuery is Watch for a query. It returns [ErrUnsupported] for what the
	// source can not be asked.
	WatchQuery(ctx context.Context, q Query, tell func(Update)) error
}

// ErrUnsupported is returned for a query that a source has no means to answer.
var ErrUnsupported = errors.New("the source can not be asked for that")

// WatchQuery asks a source of any kind. What the source can not filter by
// itself is filtered here.
func WatchQuery(ctx context.Context, s Source, q Query, tell func(Update)) error {
	if querier, ok := s.(Querier); ok {
		return querier.WatchQuery(ctx, q, tell)
	}
	if elsewhere := q.elsewhere(); elsewhere != "" {
		return fmt.Errorf("instances of %q in %s: %w", q.Service, elsewhere, ErrUnsupported)
	}
	if q.Filter == "" {
		return s.Watch(ctx, q.Service, tell)
	}
	filter, err := NewFilter(q.Filter)
	if err != nil {
		return fmt.Errorf("instances of %q: %w", q.Service, err)
	}
	var last *Snapshot
	return s.Watch(ctx, q.Service, func(u Update) {
		u = filter.update(u)
		if u.Err == nil && last != nil && last.Equal(u.Snapshot) {
			return // what has changed is of no concern here
		}
		last = nil
		if u.Err == nil {
			last = &u.Snapshot
		}
		tell(u)
	})
}

// elsewhere names the place that is asked for, empty for our own.
func (q Query) elsewhere() string {
	for _, part := range []struct{ word, value string }{
		{"datacenter", q.Datacenter}, {"namespace", q.Namespace}, {"partition", q.Partition}, {"peer", q.Peer},
	} {
		if part.value != "" {
			return fmt.Sprintf("%s %q", part.word, part.value)
		}
	}
	return ""
}

// update leaves only the chosen instances. A service none of whose instances is
// chosen is known all the same.
func (f *Filter) update(u Update) Update {
	if u.Err != nil {
		return u
	}
	kept := make([]Instance, 0, len(u.Snapshot.Instances))
	for _, i := range u.Snapshot.Instances {
		ok, err := f.Match(i)
		if err != nil {
			return Update{Err: err}
		}
		if ok {
			kept = append(kept, i)
		}
	}
	u.Snapshot.Instances = kept
	return u
}
