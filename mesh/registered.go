package mesh

import (
	"context"
	"errors"
	"sync"

	"github.com/innermesh/innermesh/discovery"
	"github.com/innermesh/innermesh/health"
)

// Registered is this program as it is announced, with all its ports. Its methods
// are safe for concurrent use.
type Registered struct {
	parts  []discovery.Registered
	health *health.Monitor
}

// Drain says that nobody new should come: the program is not ready any more, and
// the registry shows it as critical. It returns when the registry does so to those
// who ask, or fails when ctx ends before. Callers come to know a moment later;
// [Mesh.Serve] waits for that too.
func (r *Registered) Drain(ctx context.Context) error {
	r.health.Hold(leaving, "is leaving")
	return r.each(func(part discovery.Registered) error { return part.Drain(ctx) })
}

// Maintenance takes the program out of rotation for a reason, or lets it in again.
// With Consul this is the flag that "consul maint" sets and clears, too; whoever
// sets it, the program is not ready while it stands.
func (r *Registered) Maintenance(ctx context.Context, on bool, reason string) error {
	return r.each(func(part discovery.Registered) error { return part.Maintenance(ctx, on, reason) })
}

// Deregister removes the program from the registry and stops keeping it there. It
// returns when the registry has confirmed, when ctx ends, or after some seconds of
// trying. A second call does nothing.
func (r *Registered) Deregister(ctx context.Context) error {
	return r.each(func(part discovery.Registered) error { return part.Deregister(ctx) })
}

// each does the same to all ports at once.
func (r *Registered) each(do func(discovery.Registered) error) error {
	faults := make([]error, len(r.parts))
	var all sync.WaitGroup
	for i, part := range r.parts {
		all.Go(func() { faults[i] = do(part) })
	}
	all.Wait()
	return errors.Join(faults...)
}
