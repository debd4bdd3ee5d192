package access

import (
	"context"
	"time"

	"github.com/innermesh/innermesh/internal/consul"
)

// headStart is how long Consul may take to speak before what was kept is used.
const headStart = 50 * time.Millisecond

func (a *Access) followIntentions(ctx context.Context) {
	silent := time.AfterFunc(headStart, a.useKept)
	defer silent.Stop()
	_ = a.judge.Follow(ctx, a.o.Client, func(body []byte, err error) { // it ends with ctx or the client
		silent.Stop()
		if err != nil {
			a.useKept()
			if !consul.Silent(err) { // it will not say more for the time being
				a.settle()
			}
			return
		}
		a.save(func(k *kept) { k.Intentions = body })
		a.changed()
	})
}

// followProviders waits until a rule asks for a token: nobody else needs the
// right to read them.
func (a *Access) followProviders(ctx context.Context) {
	for {
		news := a.changing()
		if rules := a.judge.Rules(); rules != nil && len(rules.Providers()) > 0 {
			break
		}
		select {
		case <-ctx.Done():
			return
		case <-news:
		}
	}
	_ = a.providers.Follow(ctx, a.o.Client, func(body []byte, err error) { // as above
		if err == nil {
			a.save(func(k *kept) { k.Providers = storable(body) })
		}
	})
}

// changed tells those who go by the rules.
func (a *Access) changed() {
	a.mu.Lock()
	if a.news != nil {
		close(a.news)
		a.news = nil
	}
	a.mu.Unlock()
	if a.o.Changed != nil {
		a.o.Changed()
	}
}

// changing is closed when rules change. Take it first, then look at the rules.
func (a *Access) changing() <-chan struct{} {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.news == nil {
		a.news = make(chan struct{})
	}
	return a.news
}
