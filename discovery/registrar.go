package discovery

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

// Registration is an instance that announces itself.
type Registration struct {
	// Service is the logical name others call it by. Required.
	Service string
	// Instance describes this copy. ID and Address are required.
	Instance Instance
	// TTL is how long the registration stays healthy without a sign of life;
	// the registrar gives one three times as often. Default 15 s.
	TTL time.Duration
	// DeregisterAfter is how long an instance may be without a sign of life
	// before it is forgotten. Default 10 min; Consul's least is 1 min.
	DeregisterAfter time.Duration
	// CheckHTTP and CheckGRPC, if set, let the registry probe the instance
	// instead of waiting for its signs of life: a URL, or "host:port[/service]".
	CheckHTTP, CheckGRPC string
	// CheckInterval is the pause between two probes. Default 5 s.
	CheckInterval time.Duration
	// MeshNative says that the instance itself speaks the mesh's mTLS.
	MeshNative bool
	// WarningWeight is its share while its health is a warning. Default: half of
	// the instance's weight, and at least 1.
	WarningWeight int
	// TaggedAddresses are further addresses by their names, each "host:port": "wan"
	// is dialled from other datacenters. Default: none.
	TaggedAddresses map[string]string
	// Reporter says how the instance is. Default: nil, it is well.
	Reporter Reporter
	// Maintained, if set, hears that somebody has put the instance into maintenance
	// and why, and with an empty reason that this has ended. It is called by one
	// goroutine at a time and must not block.
	Maintained func(reason string)
}

// Reporter says how an instance is. Its methods are safe for concurrent use.
type Reporter interface {
	// Health is how it is now. output says why, in a line.
	Health() (health Health, output string)
	// Changed is closed when Health is about to say something else. Ask for it
	// before Health.
	Changed() <-chan struct{}
}

// Validate names everything that is wrong with the registration.
func (r Registration) Validate() error {
	var errs []error
	fault := func(field, format string, args ...any) {
		errs = append(errs, fmt.Errorf("%s: %w", field, fmt.Errorf(format, args...)))
	}
	if r.Service == "" {
		fault("Service", "it has no service name")
	}
	if err := r.Instance.Validate(); err != nil {
		fault("Instance", "%w", err)
	}
	if r.Instance.Weight < 0 {
		fault("Instance.Weight", "%d: want 0 (default) or more", r.Instance.Weight)
	}
	if r.WarningWeight < 0 {
		fault("WarningWeight", "%d: want 0 (default) or more", r.WarningWeight)
	}
	for _, name := range slices.Sorted(maps.Keys(r.TaggedAddresses)) {
		if err := validateAddress(r.TaggedAddresses[name]); name == "" || err != nil {
			fault("TaggedAddresses", "%q: want a name and host:port", name)
		}
	}
	if r.Instance.Zone != "" && r.Instance.Region == "" {
		fault("Instance.Zone", "%q without a Region: a zone lies in a region, give both", r.Instance.Zone)
	}
	for _, d := range []struct {
		field string
		value time.Duration
	}{{"TTL", r.TTL}, {"DeregisterAfter", r.DeregisterAfter}, {"CheckInterval", r.CheckInterval}} {
		if d.value < 0 {
			fault(d.field, "%v: want 0 (default) or more", d.value)
		}
	}
	return errors.Join(errs...)
}

// WarningShare is the weight of the instance while its health is a warning.
func (r Registration) WarningShare() int {
	if r.WarningWeight > 0 {
		return r.WarningWeight
	}
	return max(r.Instance.Weight/2, 1)
}

// Registrar makes instances known.
//
// Register returns when the instance is registered for the first time, or with
// an error when ctx ends before or the registry will never accept it. From then
// on the registrar keeps it registered, however often the registry forgets,
// until Deregister.
type Registrar interface {
	Register(ctx context.Context, r Registration) (Registered, error)
}

// Registered is an instance that is being kept registered.
type Registered interface {
	// Drain has the registry say that nobody new should come, and returns when it
	// does so to those who ask. The instance stays registered. It fails if ctx ends
	// before; the registry is told on nevertheless.
	Drain(ctx context.Context) error
	// Maintenance takes the instance out of rotation for a reason, or lets it in
	// again: by the registry's own flag, which others see and may clear.
	Maintenance(ctx context.Context, on bool, reason string) error
	// Deregister removes the instance and stops keeping it. It returns when
	// the registry has confirmed, when ctx ends or when it gives up trying; a
	// second call does nothing.
	Deregister(ctx context.Context) error
}
