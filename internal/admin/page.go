package admin

import (
	"context"
	"net/http"
	"sync"
)

// Page is the live page. All methods are safe for concurrent use.
type Page struct {
	o       Options
	figures figures
	shares  shares
	handler http.Handler

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu        sync.Mutex
	listeners int
	closed    bool
	summed    summed
	explained chan struct{} // has a place for each question at once
}

// New returns a page that takes figures from now on. Close it.
func New(o Options) *Page {
	p := &Page{
		o: o.withDefaults(), figures: figures{of: make(map[string]*past)},
		shares: shares{of: make(map[string]*tally)}, explained: make(chan struct{}, 4),
	}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.handler = p.routes()
	if p.o.Totals != nil {
		p.wg.Go(func() { p.figures.run(p.ctx, p.o.Every, p.o.Totals) })
	}
	return p
}

// ServeHTTP serves the page wherever it is mounted: it refers to itself by
// relative addresses alone. The prefix must be taken off, see [http.StripPrefix].
func (p *Page) ServeHTTP(w http.ResponseWriter, r *http.Request) { p.handler.ServeHTTP(w, r) }

// Close ends the page's goroutine and sends listeners home. It returns when both
// have gone.
func (p *Page) Close() {
	p.mu.Lock()
	p.closed = true // before the wait: nobody listens from now on
	p.mu.Unlock()
	p.cancel()
	p.wg.Wait()
}

// enter counts a listener, unless there are enough or the page is closed.
func (p *Page) enter() (leave func(), ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || p.listeners >= p.o.Listeners {
		return nil, false
	}
	p.listeners++
	p.wg.Add(1)
	return func() {
		p.mu.Lock()
		p.listeners--
		p.mu.Unlock()
		p.wg.Done()
	}, true
}
