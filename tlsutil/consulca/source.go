package consulca

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/innermesh/innermesh/internal/consul"
	"github.com/innermesh/innermesh/tlsutil"
)

// ErrPermission is part of what [Source.Identity] says while the token may not
// have the certificate.
var ErrPermission = errors.New("the Consul token may not have this certificate: give it service:write on the service")

// Options say whose certificate is wanted.
type Options struct {
	// Service is the name of the service. It need not be registered. Required.
	Service string
	// Log hears of changes, refusals and the alarm, once each. Default:
	// slog.Default().
	Log *slog.Logger
}

// Validate reports all faults with the names of their fields.
func (o Options) Validate() error {
	if o.Service == "" {
		return fmt.Errorf("%s: is empty: name the service whose certificate is wanted", "Service")
	}
	return nil
}

// Source is a [tlsutil.Source] that follows what Consul's agent says.
//
// Certificate and roots are taken together or not at all: while they do not fit,
// the last good identity stays and Err tells why. Roots arrive before the
// certificate that needs them, so during a change of CA both are trusted. An
// expired certificate is never returned.
//
// Safe for concurrent use. Close ends its goroutines, and so does the end of the
// client.
type Source struct {
	learned // guarded by mu

	o     Options
	state atomic.Pointer[state]
	stop  func()
	mu    sync.Mutex // one change at a time
}

// state is what the source has to tell, until changed is closed.
type state struct {
	id      *tlsutil.Identity // nil: none yet
	err     error             // why there is no newer one
	changed chan struct{}
}

// New follows Consul until Close. It does not wait for an answer: [tlsutil.Ready]
// does. Errors are those of the options and of a closed client.
func New(client *consul.Client, o Options) (*Source, error) {
	if err := o.Validate(); err != nil {
		return nil, fmt.Errorf("certificate from Consul: %w", err)
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	s := &Source{o: o}
	s.state.Store(&state{changed: make(chan struct{})})
	stop, err := client.Go(func(ctx context.Context) { s.follow(ctx, client) })
	if err != nil {
		return nil, fmt.Errorf("certificate of %q from Consul: %w", o.Service, err)
	}
	s.stop = stop
	return s, nil
}

// Identity returns the last good identity. Until there is one the error wraps
// [tlsutil.ErrNoIdentity], when it has expired [tlsutil.ErrExpired], and says why
// there is no newer one, [ErrPermission] for example.
func (s *Source) Identity() (*tlsutil.Identity, error) {
	now := s.state.Load()
	err := tlsutil.ErrNoIdentity
	if now.id != nil {
		if err = now.id.Valid(time.Now()); err == nil {
			return now.id, nil
		}
	}
	if now.err != nil {
		err = fmt.Errorf("%w; from Consul: %w", err, now.err)
	}
	return nil, fmt.Errorf("certificate of %q: %w", s.o.Service, err)
}

// Changed is the one of [tlsutil.Source].
func (s *Source) Changed() <-chan struct{} { return s.state.Load().changed }

// Err returns why what Consul said last, if anything, is not in use; nil if it
// is.
func (s *Source) Err() error { return s.state.Load().err }

// Close stops following and returns when that has ended. The last identity stays
// in use.
func (s *Source) Close() error {
	s.stop()
	return nil
}

// follow asks for both at once, and watches the time.
func (s *Source) follow(ctx context.Context, client *consul.Client) {
	var watches sync.WaitGroup
	defer watches.Wait()
	for path, take := range map[string]func(consul.Result){
		"/v1/connect/ca/roots": s.takeRoots,
		"/v1/agent/connect/ca/leaf/" + url.PathEscape(s.o.Service): s.takeLeaf,
	} {
		watches.Go(func() {
			// The identity is that of where we run, wherever else is asked about.
			// The error is the end of ctx or of the client.
			_ = client.Watch(ctx, consul.Query{Path: path, Params: url.Values{"dc": {""}}}, take)
		})
	}
	s.watchTime(ctx)
}

// tell replaces the state, then wakes who waits: they find the new one.
func (s *Source) tell(id *tlsutil.Identity, err error) {
	before := s.state.Swap(&state{id: id, err: err, changed: make(chan struct{})})
	close(before.changed)
}
