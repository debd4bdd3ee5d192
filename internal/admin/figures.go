package admin

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/innermesh/innermesh/internal/window"
)

// figures are the golden signals of all upstreams over the last minutes, made of
// the difference between what was counted at one moment and at another: calls pay
// for the counting alone, which is done anyway.
type figures struct {
	mu sync.Mutex
	of map[string]*past
}

// past is the history of one upstream.
type past struct {
	marks  [span + 1]mark // a ring, of the last samples
	n      int            // samples so far
	points []Point        // oldest first
	seen   bool           // in this round
}

// mark is what was counted at a moment.
type mark struct {
	at            time.Time
	calls, failed uint64
	took          window.Counts
}

const (
	// span is how many samples a figure covers.
	span = 5
	// remembered is how many points the past has.
	remembered = 90
)

// run takes samples until ctx ends.
func (f *figures) run(ctx context.Context, every time.Duration, totals func() []Totals) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		f.take(time.Now(), totals())
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// take takes in what was counted until now.
func (f *figures) take(now time.Time, all []Totals) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range all {
		t := &all[i]
		p := f.of[t.Service]
		if p == nil {
			p = new(past)
			f.of[t.Service] = p
		}
		if last := p.last(); last != nil && last.calls > t.Calls { // it has left and come back
			*p = past{points: p.points}
		}
		p.take(mark{now, t.Calls, t.Failed, t.Took})
		p.seen = true
	}
	for service, p := range f.of {
		if !p.seen {
			delete(f.of, service)
		}
		p.seen = false
	}
}

func (p *past) last() *mark {
	if p.n == 0 {
		return nil
	}
	return &p.marks[(p.n-1)%len(p.marks)]
}

func (p *past) take(m mark) {
	p.marks[p.n%len(p.marks)] = m
	p.n++
	if p.n == 1 {
		return
	}
	first := p.marks[max(p.n-len(p.marks), 0)%len(p.marks)]
	point := Point{At: m.at, Figures: Figures{Known: true}}
	if passed := m.at.Sub(first.at).Seconds(); passed > 0 {
		point.Rate = float64(m.calls-first.calls) / passed
	}
	if calls := m.calls - first.calls; calls > 0 && m.failed > first.failed {
		point.Errors = min(float64(m.failed-first.failed)/float64(calls), 1)
	}
	took := m.took.Since(&first.took)
	point.P50, point.P99 = Span(took.Quantile(0.5)), Span(took.Quantile(0.99))
	if len(p.points) == remembered {
		p.points = p.points[1:] // who was given them keeps them: they are written once
	}
	p.points = append(p.points, point)
}

// past returns the points of an upstream, oldest first. Read only.
func (f *figures) past(service string) []Point {
	f.mu.Lock()
	defer f.mu.Unlock()
	if p := f.of[service]; p != nil {
		return slices.Clip(p.points)
	}
	return nil
}

// latest is the last point, if there is one.
func latest(points []Point) Figures {
	if len(points) == 0 {
		return Figures{}
	}
	return points[len(points)-1].Figures
}
