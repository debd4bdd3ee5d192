package consul

import (
	"context"
	"errors"

	"github.com/innermesh/innermesh/internal/consul"
)

// part is one of the answers that make up what is known.
type part struct {
	what string // in errors
	take func(consul.Result) error

	query  consul.Query
	stop   context.CancelFunc // nil: it is not asked
	asking int                // counts the questions: a late answer to an old one is dropped
	// settled: it was answered, or will not be; nothing need wait for it.
	settled bool
	index   uint64
	err     error
}

// news is an answer to one question of a part.
type news struct {
	part   *part
	asking int
	result consul.Result
}

// ask follows an answer, instead of the one before if the question is another.
func (f *following) ask(ctx context.Context, p *part, q consul.Query) {
	if p.stop != nil {
		if q.Path == p.query.Path && string(q.Body) == string(p.query.Body) {
			return
		}
		p.stop()
	}
	ctx, cancel := context.WithCancel(ctx)
	p.query, p.stop = q, cancel
	p.asking++
	asking := p.asking
	f.watches.Go(func() {
		err := f.source.client.Watch(ctx, q, func(r consul.Result) {
			select {
			case f.news <- news{p, asking, r}:
			case <-ctx.Done():
			}
		})
		if ctx.Err() != nil {
			return // nobody asks any more
		}
		select {
		case f.ended <- err:
		case <-ctx.Done():
		}
	})
}

// forget ends the question, and with it all that came of it but what was taken.
func (p *part) forget() {
	if p.stop != nil {
		p.stop()
	}
	p.stop, p.query, p.settled, p.index, p.err = nil, consul.Query{}, false, 0, nil
	p.asking++
}

// learn takes an answer, or notes why not.
func (p *part) learn(r consul.Result) {
	if r.Err != nil {
		p.err = r.Err
		p.settled = p.settled || errors.Is(r.Err, consul.ErrPermission)
		return
	}
	p.settled = true
	if p.err = p.take(r); p.err == nil {
		p.index = r.Index
	}
}
