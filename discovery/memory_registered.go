package discovery

import (
	"cmp"
	"context"
	"fmt"
	"sync"
)

// memoryRegistered is an instance in a Memory.
type memoryRegistered struct {
	memory       *Memory
	registration Registration
	stop         context.CancelFunc
	following    sync.WaitGroup

	mu      sync.Mutex
	leaving bool
	reason  string // of maintenance; empty: there is none
	gone    bool
}

// begin puts the instance into the registry and follows how it is.
func (r *memoryRegistered) begin() error {
	ctx, cancel := context.WithCancel(context.Background())
	r.stop = cancel
	if r.registration.Reporter == nil {
		return r.put()
	}
	changed := r.registration.Reporter.Changed()
	if err := r.put(); err != nil {
		cancel()
		return err
	}
	r.following.Go(func() {
		for {
			select {
			case <-changed:
			case <-ctx.Done():
				return
			}
			changed = r.registration.Reporter.Changed()
			_ = r.put() // the instance was good
		}
	})
	return nil
}

// put tells the registry how the instance is now, unless it has left.
func (r *memoryRegistered) put() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.gone {
		return nil
	}
	i := r.registration.Instance
	if r.registration.Reporter != nil {
		i.Health, _ = r.registration.Reporter.Health()
	}
	if i.Health == Warning {
		i.Weight = r.registration.WarningShare()
	}
	if r.leaving || r.reason != "" {
		i.Health = Critical
	}
	return r.memory.Put(r.registration.Service, i)
}

// Drain makes the instance critical.
func (r *memoryRegistered) Drain(context.Context) error {
	r.mu.Lock()
	r.leaving = true
	r.mu.Unlock()
	return r.put()
}

// Maintenance makes the instance critical, or lets it be what it is again.
func (r *memoryRegistered) Maintenance(_ context.Context, on bool, reason string) error {
	r.mu.Lock()
	was := r.reason
	if r.reason = ""; on {
		r.reason = cmp.Or(reason, "in maintenance")
	}
	now := r.reason
	r.mu.Unlock()
	if tell := r.registration.Maintained; tell != nil && now != was {
		tell(now)
	}
	if err := r.put(); err != nil {
		return fmt.Errorf("maintenance of %q: %w", r.registration.Instance.ID, err)
	}
	return nil
}

// Deregister takes the instance out of the registry.
func (r *memoryRegistered) Deregister(context.Context) error {
	r.stop()
	r.following.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.gone {
		r.memory.Remove(r.registration.Service, r.registration.Instance.ID)
	}
	r.gone = true
	return nil
}
