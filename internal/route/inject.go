package route

import (
	"math"
	"math/rand/v2"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/innermesh/innermesh/policy"
)

// Injector makes trouble for the calls of a route, as its policy says. It is safe
// for concurrent use.
type Injector struct{ all []*injection }

// injection is one kind of trouble, and how much of it there is now.
type injection struct {
	policy.Injection
	header Name
	until  time.Time
	active atomic.Int64
}

// Trouble is what befalls one attempt. It must be ended.
type Trouble struct {
	// Injection is what the policy says of it, with its name.
	policy.Injection
	// Wait is the delay that was drawn, 0 for none.
	Wait time.Duration
	from *injection
}

// defaultActive is how many attempts an injection befalls at once.
const defaultActive = 100

func newInjector(all []policy.Injection) *Injector {
	if len(all) == 0 {
		return nil
	}
	i := new(Injector)
	for n, said := range all {
		if said.Name == "" {
			said.Name = strconv.Itoa(n)
		}
		if said.Active == 0 {
			said.Active = defaultActive
		}
		i.all = append(i.all, &injection{Injection: said, header: NewName(said.Header), until: said.EndsAt()})
	}
	return i
}

// Draw says what befalls an attempt that is about to be sent, nil for nothing.
func (i *Injector) Draw(r Request) *Trouble {
	for _, in := range i.all {
		if !time.Now().Before(in.until) || !in.invited(r) || rand.IntN(1_000_000) >= in.Millionths {
			continue
		}
		if in.active.Add(1) > int64(in.Active) {
			in.active.Add(-1)
			continue
		}
		return &Trouble{Injection: in.Injection, Wait: in.delay(), from: in}
	}
	return nil
}

// invited says whether a call takes part.
func (in *injection) invited(r Request) bool {
	if in.Header == "" {
		return true
	}
	_, there := r.HeaderValue(in.header)
	return there
}

func (in *injection) delay() time.Duration {
	d := time.Duration(in.Delay)
	if in.Spread != policy.Exponential {
		return d
	}
	const most = 10
	return time.Duration(math.Min(rand.ExpFloat64(), most) * float64(d))
}

// Left is how long the drill goes on.
func (t *Trouble) Left() time.Duration { return time.Until(t.from.until) }

// End makes room for the next.
func (t *Trouble) End() { t.from.active.Add(-1) }
