package admin

import (
	"cmp"
	"context"
	"fmt"
	"net/url"
	"slices"
	"time"
)

// upstreamBody is the page of one upstream.
type upstreamBody struct {
	Upstream
	CanForgive bool `json:"-"`
}

func (b *upstreamBody) title() string { return b.Service }

func buildUpstream(_ context.Context, p *Page, q url.Values) (any, error) {
	service := q.Get("service")
	if p.o.Upstream == nil {
		return nil, errUnknown
	}
	u, ok := p.o.Upstream(service)
	if !ok {
		return nil, fmt.Errorf("upstream %.100q: %w; nobody has called it lately", service, errUnknown)
	}
	u.points = p.figures.past(service)
	u.History, u.Figures = u.points, latest(u.points)
	u.judge()
	p.shares.share(service, time.Now(), u.Targets)
	return &upstreamBody{Upstream: u, CanForgive: p.o.Forgive != nil}, nil
}

// configBody is the page of the configuration.
type configBody struct{ Config }

func buildConfig(_ context.Context, p *Page, _ url.Values) (any, error) {
	if p.o.Config == nil {
		return &configBody{}, nil
	}
	return &configBody{p.o.Config()}, nil
}

// securityBody is the page of the identity.
type securityBody struct {
	Security
	Tone  Tone    `json:"tone"`
	State string  `json:"state"`
	Used  float64 `json:"used"` // of the certificate's life
}

func buildSecurity(_ context.Context, p *Page, _ url.Values) (any, error) {
	var b securityBody
	if p.o.Security != nil {
		b.Security = p.o.Security()
	}
	now := time.Now()
	b.Tone, b.State = b.state(now)
	if c := b.Leaf; c != nil && c.Until.After(c.From) {
		b.Used = min(max(now.Sub(c.From).Seconds()/c.Until.Sub(c.From).Seconds(), 0), 1)
	}
	return &b, nil
}

// eventsBody is the page of what has happened.
type eventsBody struct {
	Events []Event `json:"events"`
}

// eventsMost is how many events a page shows.
const eventsMost = 300

func buildEvents(_ context.Context, p *Page, _ url.Values) (any, error) {
	b := &eventsBody{Events: []Event{}}
	if p.o.Events != nil {
		b.Events = p.o.Events()
	}
	slices.SortStableFunc(b.Events, func(a, b Event) int { return b.At.Compare(a.At) })
	b.Events = b.Events[:min(len(b.Events), eventsMost)]
	return b, nil
}

// workBody is the page of what goes on beyond calls.
type workBody struct{ Work }

func buildWork(ctx context.Context, p *Page, _ url.Values) (any, error) {
	if p.o.Work == nil {
		return &workBody{}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second) // stores may be far away
	defer cancel()
	return &workBody{p.o.Work(ctx)}, nil
}

// explainBody is the page of a request that is explained.
type explainBody struct {
	Asked    Question     `json:"-"`
	Answer   *Explanation `json:"explanation,omitzero"`
	Problem  string       `json:"problem,omitzero"`
	Services []string     `json:"-"`
}

func buildExplain(ctx context.Context, p *Page, q url.Values) (any, error) {
	b := &explainBody{Asked: Question{Method: cmp.Or(q.Get("method"), "GET"), URL: q.Get("url"), Header: q.Get("header")}}
	for _, s := range p.summaries() {
		b.Services = append(b.Services, s.Service)
	}
	slices.Sort(b.Services)
	b.Services = b.Services[:min(len(b.Services), 200)]
	if b.Asked.URL == "" || p.o.Explain == nil {
		return b, nil
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	select {
	case p.explained <- struct{}{}:
		defer func() { <-p.explained }()
	case <-ctx.Done():
		b.Problem = "too many others ask; try again"
		return b, nil
	}
	answer, err := p.o.Explain(ctx, b.Asked)
	if err != nil {
		b.Problem = err.Error()
		return b, nil
	}
	b.Answer = &answer
	return b, nil
}
