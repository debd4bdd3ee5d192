package discovery

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
)

// Memory is a registry inside the process: a [Source] and a [Registrar] that
// need nothing else. It serves tests and programs that run all their services
// themselves. The zero value is ready to use, by many goroutines at a time.
type Memory struct {
	mu       sync.Mutex
	services map[string]*memoryService
}

// memoryService is one service; it is kept when its last instance has left, so
// that it stays known.
type memoryService struct {
	known     bool
	instances map[string]Instance
	changed   chan struct{} // closed, and replaced, at every change
}

// Set makes the service have exactly these instances: none makes it a known
// service without an instance. An invalid instance or two with one ID are
// refused, and nothing changes then.
func (m *Memory) Set(service string, instances ...Instance) error {
	next := make(map[string]Instance, len(instances))
	var errs []error
	for i, inst := range instances {
		if err := inst.Validate(); err != nil {
			errs = append(errs, fmt.Errorf("set %q: instance %d: %w", service, i, err))
		}
		if _, twice := next[inst.ID]; twice {
			errs = append(errs, fmt.Errorf("set %q: instance %d: a second one with ID %q", service, i, inst.ID))
		}
		next[inst.ID] = clone(inst)
	}
	if service == "" {
		errs = append(errs, errors.New("set: the service has no name"))
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	m.change(service, func(s *memoryService) { s.instances, s.known = next, true })
	return nil
}

// Put adds the instance or replaces the one with its ID.
func (m *Memory) Put(service string, instance Instance) error {
	if service == "" {
		return errors.New("put: the service has no name")
	}
	if err := instance.Validate(); err != nil {
		return fmt.Errorf("put into %q: %w", service, err)
	}
	m.change(service, func(s *memoryService) { s.instances[instance.ID], s.known = clone(instance), true })
	return nil
}

// Remove takes the instance out; one that is not there is fine.
func (m *Memory) Remove(service, id string) {
	m.change(service, func(s *memoryService) { delete(s.instances, id) })
}

// Register adds the instance until it is deregistered, and follows its Reporter.
// Its TTL and checks mean nothing here: what is in the process needs no sign of
// life.
func (m *Memory) Register(ctx context.Context, r Registration) (Registered, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("register %q: %w", r.Service, err)
	}
	if err := r.Validate(); err != nil {
		return nil, fmt.Errorf("register %q: %w", r.Service, err)
	}
	registered := &memoryRegistered{memory: m, registration: r}
	if err := registered.begin(); err != nil {
		return nil, fmt.Errorf("register: %w", err)
	}
	return registered, nil
}

// Watch tells the instances of the service, at first and after every change.
func (m *Memory) Watch(ctx context.Context, service string, tell func(Update)) error {
	var last Snapshot
	for first := true; ; first = false {
		if err := ctx.Err(); err != nil {
			return err
		}
		snapshot, changed := m.snapshot(service)
		if first || !snapshot.Equal(last) {
			tell(Update{Snapshot: snapshot})
			last = snapshot
		}
		select {
		case <-changed:
		case <-ctx.Done():
		}
	}
}

func (m *Memory) snapshot(service string) (Snapshot, <-chan struct{}) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.service(service)
	instances := make([]Instance, 0, len(s.instances))
	for _, inst := range s.instances {
		instances = append(instances, clone(inst))
	}
	slices.SortFunc(instances, func(a, b Instance) int { return strings.Compare(a.ID, b.ID) })
	return Snapshot{Instances: instances, Unknown: !s.known && len(instances) == 0}, s.changed
}

func (m *Memory) change(service string, edit func(*memoryService)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.service(service)
	edit(s)
	close(s.changed)
	s.changed = make(chan struct{})
}

// service finds the service or makes a place for it. The caller holds the lock.
func (m *Memory) service(name string) *memoryService {
	s := m.services[name]
	if s == nil {
		s = &memoryService{instances: map[string]Instance{}, changed: make(chan struct{})}
		if m.services == nil {
			m.services = map[string]*memoryService{}
		}
		m.services[name] = s
	}
	return s
}

// clone keeps callers from changing what others read.
func clone(i Instance) Instance {
	i.Tags = slices.Clone(i.Tags)
	i.Meta = maps.Clone(i.Meta)
	return i
}
