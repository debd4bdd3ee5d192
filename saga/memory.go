package saga

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"
)

// Memory is a log that forgets everything with the process: for tests and
// trials. The zero value is ready for use.
type Memory struct {
	mu    sync.Mutex
	sagas map[string]*Record
}

// Create implements [Log].
func (m *Memory) Create(ctx context.Context, r Record, lease time.Duration) error {
	if err := Fit(ctx, &r); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.sagas[r.ID] != nil {
		return fmt.Errorf("create saga %s: %w", r.ID, ErrExists)
	}
	if m.sagas == nil {
		m.sagas = map[string]*Record{}
	}
	c := r.Clone()
	c.Token = 1
	c.Lease(time.Now(), lease)
	m.sagas[r.ID] = &c
	return nil
}

// Claim implements [Log].
func (m *Memory) Claim(ctx context.Context, c Claim) ([]Record, error) {
	if err := cmp.Or(ctx.Err(), c.Prepare()); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	var due []*Record
	for _, r := range m.sagas {
		if c.Match(r, now) {
			due = append(due, r)
		}
	}
	slices.SortFunc(due, func(a, b *Record) int { return cmp.Or(a.NotBefore.Compare(b.NotBefore), cmp.Compare(a.ID, b.ID)) })
	var given []Record
	for _, r := range due[:min(len(due), c.Limit)] {
		c.Sign(r, now)
		given = append(given, r.Clone())
	}
	return given, nil
}

// Save implements [Log].
func (m *Memory) Save(ctx context.Context, r Record, lease time.Duration) error {
	if err := Fit(ctx, &r); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	switch have := m.sagas[r.ID]; {
	case have == nil:
		return fmt.Errorf("save saga %s: %w", r.ID, ErrNotFound)
	case have.Token != r.Token:
		return fmt.Errorf("save saga %s: %w", r.ID, ErrFenced)
	}
	c := r.Clone()
	c.Lease(time.Now(), lease)
	m.sagas[r.ID] = &c
	return nil
}

// List implements [Log].
func (m *Memory) List(ctx context.Context, q Query) (Page, error) {
	if err := ctx.Err(); err != nil {
		return Page{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	var p Page
	for _, id := range slices.Sorted(maps.Keys(m.sagas)) {
		r := m.sagas[id]
		if !q.Match(r) {
			continue
		}
		if len(p.Sagas) == q.Most() {
			p.Next = p.Sagas[len(p.Sagas)-1].ID
			break
		}
		p.Sagas = append(p.Sagas, r.Clone())
	}
	return p, nil
}

// Expire implements [Log].
func (m *Memory) Expire(ctx context.Context, before time.Time, limit int) (n int, err error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for id, r := range m.sagas {
		if n < limit && r.Status.Ended() && r.Ended.Before(before) {
			delete(m.sagas, id)
			n++
		}
	}
	return n, nil
}
