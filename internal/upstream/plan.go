package upstream

import (
	"math/rand/v2"
	"time"

	"github.com/innermesh/innermesh/internal/deadline"
	"github.com/innermesh/innermesh/internal/route"
	"github.com/innermesh/innermesh/policy"
	"github.com/innermesh/innermesh/retry"
)

// Plan is where the calls to one service go, and on which terms. It is
// immutable.
type Plan struct {
	// Policy is what the plan was made from.
	Policy policy.Effective
	// Routes are tried in order; the last one fits all.
	Routes []*Route
	// Since is when it was made, on the clock of mono.Now.
	Since time.Duration

	table   *route.Table
	targets map[string]bool
	terms   map[string]string // of the targets, while the plan is made
	changes []func()          // what is to be done when it comes in force
}

// Route is one way for calls to take, and its terms. It must not be copied.
type Route struct {
	*route.Route
	// Destinations are the legs, in their order.
	Destinations []*Destination
	// Retry decides about further attempts.
	Retry *retry.Policy
	// Budget is what the retries draw on.
	Budget *retry.Budget
	// Total and PerTry bound a call and an attempt; 0 means no bound.
	Total, PerTry time.Duration
	// Spares says that nobody has set PerTry: what is known of each call may make
	// it less.
	Spares bool
	// Hedge says when a call is sent to a second instance; nil is never.
	Hedge *Hedge
	// Mirrors are where copies of the calls go.
	Mirrors []*Mirror
	// Tells says that attempts tell their time.
	Tells bool
	// Clock keeps the time of attempts.
	Clock deadline.Clock
	// Vigil ends answers that are silent for too long.
	Vigil deadline.Vigil
}

// Match returns the route of a request. The request is looked at only if there
// are several.
func (p *Plan) Match(r route.Request) *Route {
	if len(p.Routes) == 1 {
		return p.Routes[0]
	}
	return p.Routes[p.table.Match(r).Number]
}

// Pick draws a leg, or finds the one that a call sticks to.
func (r *Route) Pick(q route.Request, from route.Origin) *Destination {
	if len(r.Destinations) == 1 {
		return r.Destinations[0]
	}
	drawn := rand.Uint32()
	if hash, ok := r.Stick.Sum(q, from); ok {
		drawn = uint32(hash >> 32)
	}
	return r.Destinations[r.Route.Pick(drawn).Number]
}

// Budget tells how many further attempts the retry budgets would pay for now, by
// the one that has the least; bounded is false if none has an end.
func (p *Plan) Budget(now time.Duration) (left float64, bounded bool) {
	for _, r := range p.Routes {
		if !r.Budget.Bounded() {
			continue
		}
		if l := r.Budget.Left(now); !bounded || l < left {
			left, bounded = l, true
		}
	}
	return left, bounded
}

func newRoute(r *route.Route, budget *retry.Budget) *Route {
	p := r.Policy
	options := retry.Options{
		Attempts: p.Retry.Attempts,
		On:       conditions(p.Retry.On),
		Statuses: p.Retry.Statuses,
		Nested:   p.Retry.Nested == policy.Always,
		Base:     time.Duration(p.Retry.Backoff.Base),
		Max:      time.Duration(p.Retry.Backoff.Max),
	}
	if options.Base < 0 { // off: no wait worth the name
		options.Base, options.Max = 1, 1
	}
	return &Route{
		Route: r, Retry: retry.New(options, budget), Budget: budget,
		Total:  max(time.Duration(p.Timeout.Total), 0),
		PerTry: max(time.Duration(p.Timeout.PerTry), 0),
		Spares: p.Spares(),
		Hedge:  newHedge(p.Hedge),
		Tells:  p.Timeout.Tell == policy.TellRemaining,
		Vigil:  deadline.Vigil{After: time.Duration(p.Timeout.Idle)},
	}
}

func conditions(names []string) []retry.Condition {
	list := make([]retry.Condition, len(names)) // not nil: an empty list says that nothing is tried again
	for i, n := range names {
		list[i] = retry.Condition(n)
	}
	return list
}

func newBudget(b policy.Budget) *retry.Budget {
	return retry.NewBudget(retry.BudgetOptions{Ratio: b.Ratio, Floor: b.Floor})
}
