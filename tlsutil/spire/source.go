package spire

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"

	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/innermesh/innermesh/tlsutil"
)

// socketEnv is the SPIFFE standard's name.
const socketEnv = "SPIFFE_ENDPOINT_SOCKET"

// ErrNoEntry is part of what [tlsutil.Renewer.Identity] says while the agent knows
// no identity for this process, or not the one that is wanted.
var ErrNoEntry = errors.New("the agent has no such identity for this process: make a registration entry whose selectors fit it")

// Options say where the Workload API is and which identity is wanted. The zero
// value is good where the environment names the socket.
type Options struct {
	// Socket is the address of the Workload API, as "unix:///run/spire/agent.sock"
	// or "tcp://127.0.0.1:8000". Default: what SPIFFE_ENDPOINT_SOCKET says.
	Socket string
	// ID is the identity that is wanted, for processes that have several. Default:
	// the first one that the agent tells.
	ID tlsutil.ID
	// Log hears of changes, refusals and the alarm, once each. Default:
	// slog.Default().
	Log *slog.Logger
}

// Validate reports all faults with the names of their fields.
func (o Options) Validate() error {
	address := cmp.Or(o.Socket, os.Getenv(socketEnv))
	if address == "" {
		return fmt.Errorf("%s: is empty, and so is %s in the environment: name the Workload API's socket", "Socket", socketEnv)
	}
	if err := workloadapi.ValidateAddress(address); err != nil {
		return fmt.Errorf("%s: %q: %w", "Socket", address, err)
	}
	return nil
}

// Source is a [tlsutil.Source] that follows what the Workload API says.
//
// Safe for concurrent use. Close ends its goroutines.
type Source struct {
	*tlsutil.Renewer
	client *workloadapi.Client
	cancel context.CancelFunc
	runs   sync.WaitGroup
	once   sync.Once
}

// New follows the Workload API until Close. It does not wait for an answer:
// [tlsutil.Ready] does. Errors are those of the options.
func New(o Options) (*Source, error) {
	if err := o.Validate(); err != nil {
		return nil, fmt.Errorf("identity from the Workload API: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	client, err := workloadapi.New(ctx, workloadapi.WithAddr(cmp.Or(o.Socket, os.Getenv(socketEnv))))
	if err != nil {
		cancel()
		return nil, fmt.Errorf("identity from the Workload API: %w", err)
	}
	renewer, err := tlsutil.NewRenewer(tlsutil.RenewerOptions{Name: "this process from the Workload API", Log: o.Log})
	if err != nil {
		cancel()
		return nil, errors.Join(fmt.Errorf("identity from the Workload API: %w", err), client.Close())
	}
	s := &Source{Renewer: renewer, client: client, cancel: cancel}
	s.runs.Go(func() {
		// It tries again by itself; the error is the end of ctx, or that of a server
		// which does not know the call.
		f := follower{want: o.ID, to: renewer}
		if err := client.WatchX509Context(ctx, f); ctx.Err() == nil {
			f.OnX509ContextWatchError(err)
		}
	})
	return s, nil
}

// Close stops following and returns when that has ended. The last identity stays
// in use.
func (s *Source) Close() (err error) {
	s.once.Do(func() {
		s.cancel()
		s.runs.Wait()
		err = errors.Join(s.client.Close(), s.Renewer.Close())
	})
	return err
}

// follower passes on what the Workload API says.
type follower struct {
	want tlsutil.ID // zero: the first
	to   *tlsutil.Renewer
}

// OnX509ContextUpdate takes certificates and bundles, which come together.
func (f follower) OnX509ContextUpdate(told *workloadapi.X509Context) {
	svid := f.choose(told.SVIDs)
	if svid == nil {
		f.to.Bring(tls.Certificate{}, fmt.Errorf("%w: %d others", ErrNoEntry, len(told.SVIDs)))
		return
	}
	byDomain := map[string][]*x509.Certificate{}
	for _, bundle := range told.Bundles.Bundles() {
		if cas := bundle.X509Authorities(); len(cas) > 0 {
			byDomain[bundle.TrustDomain().Name()] = cas
		}
	}
	roots, err := tlsutil.NewRoots(byDomain)
	f.to.Learn(tlsutil.Authority{Roots: roots, Domain: svid.ID.TrustDomain().Name()}, err)
	cert := tls.Certificate{PrivateKey: svid.PrivateKey, Leaf: svid.Certificates[0]}
	for _, c := range svid.Certificates {
		cert.Certificate = append(cert.Certificate, c.Raw)
	}
	f.to.Bring(cert, nil)
}

// OnX509ContextWatchError takes the end of a stream; another one follows.
func (f follower) OnX509ContextWatchError(err error) {
	switch status.Code(err) {
	case codes.Canceled:
		return // our own end
	case codes.PermissionDenied:
		err = fmt.Errorf("%w: %w", ErrNoEntry, err)
	default:
		err = fmt.Errorf("follow the Workload API: %w", err)
	}
	f.to.Bring(tls.Certificate{}, err)
}

func (f follower) choose(svids []*x509svid.SVID) *x509svid.SVID {
	for _, svid := range svids {
		if f.want.IsZero() || svid.ID.String() == f.want.String() {
			return svid
		}
	}
	return nil
}
