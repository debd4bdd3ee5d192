package admin

import (
	"cmp"
	"context"
	"fmt"
	"net/url"
	"slices"
	"time"
)

// Overview is the first page.
type Overview struct {
	Process Process `json:"process"`
	// All are the figures of all upstreams together; latencies are the worst.
	All       Figures   `json:"all"`
	Inflight  int       `json:"inflight"`
	Attention []Concern `json:"attention"`
	Upstreams []Summary `json:"upstreams"`
	Facts     []Fact    `json:"facts"`
	Duties    []Duty    `json:"-"`

	past []Point
}

// Concern is something that somebody should look at.
type Concern struct {
	Tone    Tone   `json:"tone"`
	Service string `json:"service,omitzero"`
	Text    string `json:"text"`
	// Page is where more is told.
	Page string `json:"page"`
}

// summed are the summaries of a moment: all who look at the same time share them.
type summed struct {
	at  time.Time
	all []Summary
}

// summaries are all upstreams with their figures, those in trouble first.
func (p *Page) summaries() []Summary {
	if p.o.Summaries == nil {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if now := time.Now(); p.summed.all == nil || now.Sub(p.summed.at) >= p.o.Every/2 {
		all := p.o.Summaries()
		for i := range all {
			all[i].points = p.figures.past(all[i].Service)
			all[i].Figures = latest(all[i].points)
			all[i].judge()
		}
		slices.SortStableFunc(all, func(a, b Summary) int { return cmp.Compare(b.Tone.weight(), a.Tone.weight()) })
		p.summed = summed{now, all}
	}
	return p.summed.all
}

// alarming is the part of failed calls that somebody should look at, of at least
// so many a second.
const (
	alarming     = 0.05
	alarmingRate = 0.1
)

// judge sums an upstream up in a word.
func (s *Summary) judge() {
	n := s.Census
	failing := s.Figures.Errors >= alarming && s.Figures.Rate*s.Figures.Errors >= alarmingRate
	switch {
	case s.Error != "":
		s.Tone, s.Word = Bad, "nobody to call"
	case n.Called > 0 && n.Open == 0:
		s.Tone, s.Word = Bad, "all are out"
	case failing:
		s.Tone, s.Word = Bad, percent(s.Figures.Errors)+" fail"
	case n.Ejected+n.Tripped > 0:
		s.Tone, s.Word = Warn, fmt.Sprintf("%d out", n.Called-n.Open)
	case s.Exhausted:
		s.Tone, s.Word = Warn, "no retries left"
	case n.Critical > 0:
		s.Tone, s.Word = Warn, fmt.Sprintf("%d critical", n.Critical)
	case s.Figures.Known && s.Figures.Rate == 0:
		s.Tone, s.Word = Idle, "idle"
	default:
		s.Tone, s.Word = OK, "good"
	}
}

func (t Tone) weight() int { return slices.Index([]Tone{Idle, OK, Warn, Bad}, t) }

func buildOverview(_ context.Context, p *Page, _ url.Values) (any, error) {
	o := &Overview{Process: p.o.Process(), Upstreams: p.summaries(), Duties: p.duties(), Attention: []Concern{}}
	for i := range o.Upstreams {
		o.add(&o.Upstreams[i])
	}
	if o.All.Rate > 0 {
		o.All.Errors /= o.All.Rate
	}
	if p.o.Config != nil {
		o.config(p.o.Config())
	}
	if p.o.Security != nil {
		o.security(p.o.Security(), time.Now())
	}
	slices.SortStableFunc(o.Attention, func(a, b Concern) int { return cmp.Compare(b.Tone.weight(), a.Tone.weight()) })
	return o, nil
}

// add takes an upstream in.
func (o *Overview) add(s *Summary) {
	o.All.Known = o.All.Known || s.Figures.Known
	o.All.Rate += s.Figures.Rate
	o.All.Errors += s.Figures.Rate * s.Figures.Errors
	o.All.P50, o.All.P99 = max(o.All.P50, s.Figures.P50), max(o.All.P99, s.Figures.P99)
	o.Inflight += s.Census.Inflight
	o.past = sum(o.past, s.points)
	if s.Tone == Warn || s.Tone == Bad {
		o.Attention = append(o.Attention, Concern{s.Tone, s.Service, s.why(), "upstream?service=" + url.QueryEscape(s.Service)})
	}
}

// sum adds up the rates and errors of two pasts, which end at the same time.
func sum(all, one []Point) []Point {
	if len(one) > len(all) {
		all = append(make([]Point, len(one)-len(all), len(one)), all...)
	}
	offset := len(all) - len(one)
	for i, p := range one {
		to := &all[offset+i]
		failed := to.Rate*to.Errors + p.Rate*p.Errors
		to.At, to.Rate = p.At, to.Rate+p.Rate
		to.Errors = 0
		if to.Rate > 0 {
			to.Errors = failed / to.Rate
		}
		to.P99 = max(to.P99, p.P99)
	}
	return all
}

// why says in a sentence what is wrong.
func (s *Summary) why() string {
	n := s.Census
	switch {
	case s.Error != "":
		return s.Error
	case n.Called > 0 && n.Open == 0:
		return fmt.Sprintf("none of %s may be called", count(n.Called, "instance"))
	case n.Ejected+n.Tripped > 0:
		text := fmt.Sprintf("%d of %s out of rotation", n.Called-n.Open, count(n.Called, "instance"))
		switch {
		case n.Ejected > 0 && n.Tripped > 0:
			text += fmt.Sprintf(": %d ejected, %d with an open breaker", n.Ejected, n.Tripped)
		case n.Ejected > 0:
			text += ": ejected"
		default:
			text += ": open breaker"
		}
		if s.Figures.Errors > 0 {
			text += ", " + percent(s.Figures.Errors) + " of calls fail"
		}
		return text
	case s.Figures.Errors >= alarming:
		return percent(s.Figures.Errors) + " of calls fail"
	case s.Exhausted:
		return "the retry budget is spent: failures are passed on"
	default:
		return fmt.Sprintf("%d of %s critical, says discovery", n.Critical, count(n.All, "instance"))
	}
}

func (o *Overview) config(c Config) {
	for _, r := range c.Refused {
		o.Attention = append(o.Attention, Concern{Warn, r.Service, "refused: " + r.Name + ", so what was before stays in force", "configuration"})
	}
	if len(c.Refused) > 0 {
		o.Facts = append(o.Facts, Fact{"Configuration", count(len(c.Refused), "change") + " refused", Warn})
		return
	}
	given := slices.DeleteFunc(slices.Clone(c.Applied), func(d Document) bool { return d.Empty })
	if len(given) == 0 {
		o.Facts = append(o.Facts, Fact{"Configuration", "built in and by code", OK})
		return
	}
	last := slices.MaxFunc(given, func(a, b Document) int { return a.At.Compare(b.At) })
	o.Facts = append(o.Facts, Fact{"Configuration", "changed " + ago(time.Since(last.At)), OK})
}

func (o *Overview) security(s Security, now time.Time) {
	tone, text := s.state(now)
	o.Facts = append(o.Facts, Fact{"Identity", text, tone})
	if tone == Warn || tone == Bad {
		o.Attention = append(o.Attention, Concern{tone, "", "identity: " + cmp.Or(s.Problem, text), "security"})
	}
}

// state says how long the identity is good for. One that has less than a fifth of
// its life left should have been renewed.
func (s *Security) state(now time.Time) (Tone, string) {
	switch {
	case !s.Secured:
		return Idle, "none: plain text"
	case s.Leaf == nil:
		return Bad, "none yet"
	}
	left, life := s.Leaf.Until.Sub(now), s.Leaf.Until.Sub(s.Leaf.From)
	switch {
	case left <= 0:
		return Bad, "expired " + ago(-left)
	case left < life/5:
		return Warn, "expires in " + about(left)
	default:
		return OK, "good for " + about(left)
	}
}
