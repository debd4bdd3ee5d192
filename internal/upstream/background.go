package upstream

import (
	"context"
	"sync"
)

// background is what goes on beside calls and after them.
type background struct {
	mu     sync.Mutex
	closed bool
	wg     sync.WaitGroup
}

// Go runs f beside the calls, unless the upstream is let go; that ends ctx and
// waits for f.
func (u *Upstream) Go(f func(ctx context.Context)) bool {
	if !u.Begin() {
		return false
	}
	go func() {
		defer u.Done()
		f(u.ctx)
	}()
	return true
}

// Begin counts something that goes on beside the calls and is about to end;
// [Upstream.Done] must follow. It says no if the upstream is let go.
func (u *Upstream) Begin() bool {
	u.beside.mu.Lock()
	defer u.beside.mu.Unlock()
	if u.beside.closed {
		return false
	}
	u.beside.wg.Add(1)
	return true
}

// Done ends what Begin has counted.
func (u *Upstream) Done() { u.beside.wg.Done() }

// rest waits for all that Go has begun.
func (b *background) rest() {
	b.mu.Lock()
	b.closed = true
	b.mu.Unlock()
	b.wg.Wait()
}
