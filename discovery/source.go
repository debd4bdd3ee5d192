package discovery

import (
	"context"
	"errors"
	"slices"
)

// What a source can know about a service that can not be called. They are the
// cause of a call's error and are found with [errors.Is].
var (
	// ErrUnknownService: the source answered, and nobody has ever registered
	// under that name as far as it knows.
	ErrUnknownService = errors.New("no such service: check the name, and that its instances are registered")
	// ErrNoInstances: the service is known, but has no instance now.
	ErrNoInstances = errors.New("the service has no instance: start one, or wait for one to register")
	// ErrNoHealthyInstance: there are instances, all of them critical.
	ErrNoHealthyInstance = errors.New("the service has no healthy instance: look at its health checks")
	// ErrNotReady: the source has not answered yet.
	ErrNotReady = errors.New("discovery has not answered yet: check that its address is right and that it is up")
)

// Snapshot is all that a source knows about a service at one moment. It is
// complete: an instance that is not in it is gone. The receiver may keep it and
// must not change it.
type Snapshot struct {
	// Instances are all known copies, critical ones included, sorted by ID.
	Instances []Instance
	// Unknown is true when the list is empty because the source never heard of
	// the service, not because its instances left.
	Unknown bool
}

// Equal says whether both tell the same of a service.
func (s Snapshot) Equal(o Snapshot) bool {
	return s.Unknown == o.Unknown && slices.EqualFunc(s.Instances, o.Instances, Instance.Equal)
}

// Update is what a watch tells: a new snapshot, or why there is none.
type Update struct {
	Snapshot Snapshot
	// Err is set when the source could not be asked. The snapshot is empty then
	// and whatever was known before stays true.
	Err error
}

// Source tells where services run.
//
// Watch blocks until ctx ends and returns its error. It calls tell from one
// goroutine at a time, first as soon as the source has answered (or failed) for
// the first time, then only when something has changed. Every snapshot is whole
// and newer than the one before, but states in between may have been missed.
// Errors do not end a watch: it tells them (not each repetition) and goes on
// trying. tell must not block.
//
// Sources are safe for concurrent use; several watches of one service are
// allowed and cheap.
type Source interface {
	Watch(ctx context.Context, service string, tell func(Update)) error
}
