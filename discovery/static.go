package discovery

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// Static is a [Source] that never changes: service names and the addresses
// ("host:port") of their instances, whose IDs are the addresses. A name that is
// not in it is unknown; a name with an empty list is known and has no instance.
//
// It must not be changed once it is in use.
type Static map[string][]string

// Validate names everything that is wrong with the list.
func (s Static) Validate() error {
	var errs []error
	for _, service := range slices.Sorted(maps.Keys(s)) {
		if service == "" {
			errs = append(errs, errors.New("static: a service without a name"))
		}
		for i, addr := range s[service] {
			if err := validateAddress(addr); err != nil {
				errs = append(errs, fmt.Errorf("static[%q][%d]: %w", service, i, err))
			}
		}
	}
	return errors.Join(errs...)
}

// Watch tells the instances of the service once, or what is wrong with their
// addresses, and then waits for ctx to end.
func (s Static) Watch(ctx context.Context, service string, tell func(Update)) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	tell(s.update(service))
	<-ctx.Done()
	return ctx.Err()
}

func (s Static) update(service string) Update {
	addrs, known := s[service]
	if err := (Static{service: addrs}).Validate(); err != nil {
		return Update{Err: err}
	}
	instances := make([]Instance, 0, len(addrs))
	for _, addr := range slices.Compact(slices.Sorted(slices.Values(addrs))) {
		instances = append(instances, Instance{ID: addr, Address: addr})
	}
	return Update{Snapshot: Snapshot{Instances: instances, Unknown: !known}}
}
