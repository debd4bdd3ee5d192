package window

import "sync"

// Latest has the values that were kept last. The zero value is empty. It is safe for
// concurrent use.
type Latest[T any] struct {
	mu     sync.Mutex
	ring   []T
	oldest int
}

// Keep adds a value, in place of the oldest if there are most of them already.
// most must always be the same.
func (l *Latest[T]) Keep(v T, most int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.ring) < most {
		l.ring = append(l.ring, v)
		return
	}
	l.ring[l.oldest] = v
	l.oldest = (l.oldest + 1) % most
}

// All returns what is kept, oldest first.
func (l *Latest[T]) All() []T {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := make([]T, 0, len(l.ring))
	return append(append(all, l.ring[l.oldest:]...), l.ring[:l.oldest]...)
}
