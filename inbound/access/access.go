package access

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/innermesh/innermesh/inbound/caller"
	"github.com/innermesh/innermesh/inbound/intention"
	"github.com/innermesh/innermesh/inbound/jwt"
	"github.com/innermesh/innermesh/internal/consul"
	"github.com/innermesh/innermesh/tlsutil"
)

// Options say whose rules are followed. Service and Client are required.
type Options struct {
	// Service is the one that is called.
	Service string
	// Client asks Consul. It outlives the Access.
	Client *consul.Client
	// Source has this program's identity, whose trust domain is that of callers.
	// Without it everybody is a stranger.
	Source tlsutil.Source
	// Default is the default policy: "allow" or "deny". Default: Consul's, which
	// is learned; "deny" until then.
	Default string
	// OpenWithoutRules lets everybody in of whom nothing is known: neither from
	// Consul nor from disk.
	OpenWithoutRules bool
	// DryRun has refusals told only.
	DryRun bool
	// Paths say how paths are made normal.
	Paths intention.Paths
	// Store keeps what was learned. Default: nothing is kept.
	Store Store
	// Changed hears that rules have changed. It must not block.
	Changed func()
	// Logger hears of changes of state. Default: slog.Default().
	Logger *slog.Logger
}

// Store keeps things on disk, as internal/lastgood does.
type Store interface {
	Put(kind, key string, data []byte)
	Get(kind, key string) (data []byte, saved time.Time, ok bool)
}

// Validate reports all faults with the names of their fields.
func (o Options) Validate() error {
	var faults []error
	fault := func(field, format string, args ...any) {
		faults = append(faults, fmt.Errorf("%s: %w", field, fmt.Errorf(format, args...)))
	}
	if o.Service == "" {
		fault("Service", "is empty, and is required")
	}
	if o.Client == nil {
		fault("Client", "is nil, and is required")
	}
	if o.Default != "" && o.Default != "allow" && o.Default != "deny" {
		fault("Default", "%q: want allow or deny", o.Default)
	}
	if err := o.options().Validate(); o.Service != "" && err != nil {
		faults = append(faults, err)
	}
	return errors.Join(faults...)
}

func (o Options) options() intention.Options {
	i := intention.Options{Service: o.Service, TrustDomain: nowhere, DryRun: o.DryRun, Paths: o.Paths}
	if o.OpenWithoutRules {
		i.WithoutRules = intention.Allow
	}
	if o.Default == "allow" {
		i.Default = intention.Allow
	}
	return i
}

// nowhere is the trust domain of nobody.
const nowhere = "nowhere.invalid"

// patience is how long calls wait for the first rules of all. Then they are
// judged without.
const patience = 3 * time.Second

// Access decides. It is safe for concurrent use. Close it.
type Access struct {
	o         Options
	log       *slog.Logger
	judge     *intention.Judge
	providers *jwt.Providers
	domain    atomic.Pointer[string]
	stops     []func()

	settled chan struct{} // closed when calls need not wait any more
	settle  func()

	mu     sync.Mutex // guards what follows
	kept   kept
	news   chan struct{} // closed when rules change; made when first asked for
	failed string        // why the default policy could not be learned, as told
}

// New returns one that begins to follow Consul.
func New(o Options) (*Access, error) {
	if err := o.Validate(); err != nil {
		return nil, fmt.Errorf("access: %w", err)
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	judge, err := intention.NewJudge(o.options(), o.Logger)
	if err != nil {
		return nil, err
	}
	a := &Access{
		o: o, log: o.Logger, judge: judge, providers: jwt.New(o.Logger),
		settled: make(chan struct{}),
	}
	a.settle = sync.OnceFunc(func() { close(a.settled) })
	a.domain.Store(new(nowhere))
	for _, run := range []func(context.Context){a.followIntentions, a.followProviders, a.followDefault} {
		stop, err := o.Client.Go(run)
		if err != nil {
			a.Close()
			return nil, fmt.Errorf("access: %w", err)
		}
		a.stops = append(a.stops, stop)
	}
	return a, nil
}

// Decide says whether a caller may do that. Before the first rules are known it
// waits for them, within ctx and a few seconds. Tokens of the request are looked
// for where [Access.Tokens] says.
func (a *Access) Decide(ctx context.Context, who caller.Caller, req *intention.Request) intention.Decision {
	a.await(ctx)
	a.at(who)
	return a.judge.Decide(who.ServiceID, req)
}

// DecideConnection says whether a caller may be connected at all. It never
// waits. A caller with permissions may be: each request is judged.
func (a *Access) DecideConnection(who caller.Caller) (intention.Decision, bool) {
	a.at(who)
	d := a.judge.DecideConnection(who.ServiceID)
	return d, d.Admit() || d.Reason == intention.NeedsRequest || d.Reason == intention.NoRules
}

// Tokens are those of a request, for [intention.Request]; query is the raw one.
// It is nil as long as no provider is known: then there are none, whatever the
// request shows.
func (a *Access) Tokens(ctx context.Context, header map[string][]string, query string) *jwt.Tokens {
	if !a.providers.Any() {
		return nil
	}
	return a.providers.Of(ctx, header, query)
}

// Known says whether rules are known.
func (a *Access) Known() bool { return a.judge.Rules() != nil }

// Close ends the following and returns when its goroutines have ended. What is
// known goes on being obeyed.
func (a *Access) Close() {
	for _, stop := range a.stops {
		stop()
	}
	a.providers.Close()
	a.settle()
}

func (a *Access) await(ctx context.Context) {
	select {
	case <-a.settled:
		return
	default:
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-a.settled:
	case <-timer.C:
		a.settle()
	case <-ctx.Done():
	}
}

// at makes sure that the trust domain is our own: a program has no identity when
// it begins, and the domain of its CA may change.
func (a *Access) at(who caller.Caller) {
	if who.TrustDomain == "" || who.TrustDomain == *a.domain.Load() || a.o.Source == nil {
		return
	}
	self, err := a.o.Source.Identity()
	if err != nil {
		return
	}
	own := self.ID().TrustDomain()
	if own == *a.domain.Load() {
		return
	}
	if err := a.judge.Revise(func(o *intention.Options) { o.TrustDomain = own }); err != nil {
		a.log.Error("intentions can not be read in the trust domain", "trust_domain", own, "error", err)
		return
	}
	a.domain.Store(&own)
}
