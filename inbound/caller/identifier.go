package caller

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
	"weak"

	"github.com/innermesh/innermesh/tlsutil"
)

// Options say whom to believe.
type Options struct {
	// Source has the roots that vouch for callers. Default: none; then nobody is
	// known.
	Source tlsutil.Source
	// Forwarders may say who has called them: services of our own trust domain, by
	// name, such as an ingress. Default: nobody may.
	Forwarders []string
}

// Validate reports all faults with the names of their fields.
func (o Options) Validate() error {
	var faults []error
	for n, name := range o.Forwarders {
		if err := (tlsutil.ServiceID{TrustDomain: "d", Datacenter: "d", Service: name}).Validate(); err != nil {
			faults = append(faults, fmt.Errorf("%s[%d]: %q is no name of a service", "Forwarders", n, name))
		}
	}
	return errors.Join(faults...)
}

// ErrForwarded is wrapped by errors about what a peer that may speak for others
// says of its caller.
var ErrForwarded = errors.New("it can not be known for whom the peer speaks")

// Identifier finds out who calls. It is safe for concurrent use.
type Identifier struct {
	o Options

	mu     sync.RWMutex
	proven map[shown]tlsutil.ID
}

// shown is the certificate of a connection, which stays the same in memory as
// long as that lives. It is not kept alive by being remembered.
type shown = weak.Pointer[x509.Certificate]

// maxProven bounds the connections whose proof is remembered. Those that are
// forgotten are checked once more.
const maxProven = 64 << 10

// New returns an identifier.
func New(o Options) (*Identifier, error) {
	if err := o.Validate(); err != nil {
		return nil, fmt.Errorf("caller: %w", err)
	}
	return &Identifier{o: o, proven: make(map[shown]tlsutil.ID)}, nil
}

// Identify says who calls on a connection, nil being one in the clear, with that
// header, which is an http.Header or gRPC's metadata. Nobody known is no error.
//
// A certificate that is not good is an error, which wraps what tlsutil says of
// it; so is what can not be believed of a peer that may speak for others, which
// wraps [ErrForwarded].
func (i *Identifier) Identify(cs *tls.ConnectionState, header map[string][]string) (Caller, error) {
	if i.o.Source == nil || cs == nil || len(cs.PeerCertificates) == 0 {
		return Caller{}, nil
	}
	peer, err := i.peer(cs)
	if err != nil {
		return Caller{}, err
	}
	if !i.forwards(peer) {
		return of(peer), nil
	}
	return i.forwarded(peer, header)
}

// Trusted says whether the header that names others may be left to the handler:
// only a peer that may speak for others has written it. Else it is to be taken
// out.
func (i *Identifier) Trusted(c Caller) bool {
	peer := c.ID
	if !c.Via.IsZero() {
		peer = c.Via
	}
	return i.forwards(peer)
}

func (i *Identifier) peer(cs *tls.ConnectionState) (tlsutil.ID, error) {
	leaf := weak.Make(cs.PeerCertificates[0])
	i.mu.RLock()
	id, ok := i.proven[leaf]
	i.mu.RUnlock()
	if ok {
		return id, nil
	}
	self, err := i.o.Source.Identity()
	if err != nil {
		return id, fmt.Errorf("caller: there is nothing to check it against: %w", err)
	}
	if id, err = self.Proves(*cs, time.Now()); err != nil {
		return id, err
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if len(i.proven) >= maxProven {
		clear(i.proven)
	}
	i.proven[leaf] = id
	return id, nil
}

// forwarded walks from the peer back to the first who may not speak for others.
// Each element is what one hop has seen of the one before it, so that a hop's
// word counts only if all hops after it may be believed.
func (i *Identifier) forwarded(peer tlsutil.ID, header map[string][]string) (Caller, error) {
	lines := header[Header]
	if lower := header[strings.ToLower(Header)]; len(lower) > 0 {
		lines = slices.Concat(lines, lower)
	}
	if len(lines) == 0 {
		return of(peer), nil // it speaks for itself
	}
	elements, err := Parse(lines)
	if err != nil {
		return Caller{}, fmt.Errorf("%w: %w", ErrForwarded, err)
	}
	at := peer
	for _, e := range slices.Backward(elements) {
		if len(e.By) > 0 && !slices.Contains(e.By, at.String()) {
			return Caller{}, fmt.Errorf("%w: the header is not by %s", ErrForwarded, at)
		}
		if len(e.URI) != 1 {
			return Caller{}, fmt.Errorf("%w: %s names %d callers", ErrForwarded, at, len(e.URI))
		}
		if at, err = tlsutil.ParseID(e.URI[0]); err != nil {
			return Caller{}, fmt.Errorf("%w: %w", ErrForwarded, err)
		}
		if !i.forwards(at) {
			break
		}
	}
	c := of(at)
	c.Via = peer
	return c, nil
}

// forwards says whether that is a service that may speak for others.
func (i *Identifier) forwards(id tlsutil.ID) bool {
	if len(i.o.Forwarders) == 0 || i.o.Source == nil {
		return false
	}
	service, err := id.Service()
	if err != nil || !slices.Contains(i.o.Forwarders, service.Service) {
		return false
	}
	self, err := i.o.Source.Identity()
	return err == nil && id.TrustDomain() == self.ID().TrustDomain()
}
