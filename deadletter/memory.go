package deadletter

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// Memory is a sink that forgets everything with the process: for tests and
// trials. The zero value is ready for use.
type Memory struct {
	// MaxLetters is how many letters it takes. Default 100,000. It must not be
	// changed after first use.
	MaxLetters int

	mu       sync.Mutex
	index    Index
	letters  map[string]Letter
	revision uint64
}

// Put implements [Sink].
func (m *Memory) Put(ctx context.Context, l Letter) error {
	if err := Fit(ctx, &l); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.letters[l.ID]; ok {
		return fmt.Errorf("keep letter %s: %w", l.ID, ErrExists)
	}
	if len(m.letters) >= cmp.Or(m.MaxLetters, 100_000) {
		return fmt.Errorf("keep letter %s: %w", l.ID, ErrFull)
	}
	l.Owner, l.LeasedUntil = "", time.Time{}
	m.set(&l)
	return nil
}

// List implements [Sink].
func (m *Memory) List(ctx context.Context, q Query) (Page, error) {
	if err := ctx.Err(); err != nil {
		return Page{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	ids, next := m.index.List(q)
	p := Page{Next: next}
	for _, id := range ids {
		p.Letters = append(p.Letters, copied(m.letters[id]))
	}
	return p, nil
}

// Claim implements [Sink].
func (m *Memory) Claim(ctx context.Context, c Claim) ([]Letter, error) {
	if err := errors.Join(ctx.Err(), c.Prepare()); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	var given []Letter
	for _, id := range m.index.Due(c, nil) {
		l := m.letters[id]
		c.Sign(&l)
		m.set(&l)
		given = append(given, copied(l))
	}
	return given, nil
}

// Update implements [Sink].
func (m *Memory) Update(ctx context.Context, l Letter) (Letter, error) {
	if err := Fit(ctx, &l); err != nil {
		return Letter{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.index.Check(l); err != nil {
		return Letter{}, err
	}
	m.set(&l)
	return copied(l), nil
}

// Remove implements [Sink].
func (m *Memory) Remove(ctx context.Context, l Letter) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.index.Check(l); err != nil {
		return err
	}
	m.index.Delete(l.ID)
	delete(m.letters, l.ID)
	return nil
}

func (m *Memory) set(l *Letter) {
	if m.letters == nil {
		m.letters = map[string]Letter{}
	}
	m.revision++
	l.Revision = m.revision
	m.letters[l.ID] = copied(*l)
	m.index.Set(*l)
}

// copied shares nothing with l that its holder might change.
func copied(l Letter) Letter {
	l.Header = l.Header.Clone()
	l.Body = slices.Clone(l.Body)
	l.Attempts = slices.Clone(l.Attempts)
	return l
}
