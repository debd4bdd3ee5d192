package tlsutil

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Authorizer says whether a peer whose name is proven is welcome: nil, or why
// not. self is the identity of this end at that moment, so that "the same trust
// domain" can be said before the domain is known.
//
// It runs within every handshake, from many goroutines, and must not block.
// Errors reach the caller inside a [*PeerError] and as [ErrDenied].
type Authorizer func(peer, self ID) error

// AuthorizeAny welcomes every peer that some root vouches for: use it where
// requests are judged one by one later.
func AuthorizeAny() Authorizer {
	return func(ID, ID) error { return nil }
}

// AuthorizeMesh welcomes every peer of this end's own trust domain, in any
// datacenter; if this end is a service, services only, as Consul's sidecars do
// before they look at intentions. It is what a server wants that judges requests
// one by one.
func AuthorizeMesh() Authorizer {
	return func(peer, self ID) error {
		if peer.TrustDomain() != self.TrustDomain() {
			return denied(peer, "any peer of trust domain "+self.TrustDomain())
		}
		_, own := self.Service() // an error where names are of another form than Consul's
		_, theirs := peer.Service()
		if own == nil && theirs != nil {
			return denied(peer, "any service of trust domain "+self.TrustDomain())
		}
		return nil
	}
}

// AuthorizeID welcomes exactly this peer. It is what a client wants that knows
// the datacenter and namespace of its target, as Consul's sidecars do.
func AuthorizeID(id ID) Authorizer {
	return AuthorizeOneOf(id)
}

// AuthorizeOneOf welcomes exactly these peers; none if there are none.
func AuthorizeOneOf(ids ...ID) Authorizer {
	ids = slices.Clone(ids)
	return func(peer, _ ID) error {
		if slices.Contains(ids, peer) {
			return nil
		}
		return denied(peer, listed(ids))
	}
}

// AuthorizeService welcomes the service of that name in this end's own trust
// domain, partition and namespace, in any datacenter. An end that is no service
// itself counts as one of the default partition and namespace.
func AuthorizeService(name string) Authorizer {
	return func(peer, self ID) error {
		want, err := self.Service()
		if err != nil {
			want = ServiceID{TrustDomain: self.TrustDomain()}.normal()
		}
		got, err := peer.Service()
		want.Service, want.Datacenter = name, got.Datacenter
		if err == nil && got == want {
			return nil
		}
		place := "namespace " + want.Namespace + " of trust domain " + want.TrustDomain
		if want.Partition != "" {
			place = "partition " + want.Partition + ", " + place
		}
		return denied(peer, fmt.Sprintf("service %q in %s", name, place))
	}
}

// AuthorizeTarget welcomes one service where it is expected: what a client
// demands that knows where its target is, as Consul's sidecars do. Fields left
// empty, other than Service, are those of this end: the trust domain, and if it
// is a service, partition, namespace and datacenter.
func AuthorizeTarget(target ServiceID) Authorizer {
	return func(peer, self ID) error {
		want := target
		want.TrustDomain = cmp.Or(want.TrustDomain, self.TrustDomain())
		if own, err := self.Service(); err == nil {
			want.Partition = cmp.Or(want.Partition, own.Partition)
			want.Namespace = cmp.Or(want.Namespace, own.Namespace)
			want.Datacenter = cmp.Or(want.Datacenter, own.Datacenter)
		}
		expected, err := want.ID()
		if err != nil {
			return &PeerError{Peer: peer, Err: fmt.Errorf("%w: the target has no name: %w", ErrDenied, err)}
		}
		if got, err := peer.Service(); err != nil || got != want.normal() {
			return denied(peer, expected.String())
		}
		return nil
	}
}

// AuthorizeTrustDomain welcomes every peer of that trust domain.
func AuthorizeTrustDomain(trustDomain string) Authorizer {
	return func(peer, _ ID) error {
		if peer.TrustDomain() == trustDomain {
			return nil
		}
		return denied(peer, "any peer of trust domain "+trustDomain)
	}
}

func denied(peer ID, expected string) error {
	return &PeerError{Peer: peer, Expected: expected, Err: ErrDenied}
}

// listed names the first few: a message is no place for a hundred names.
func listed(ids []ID) string {
	const shown = 4
	var names []string
	for _, id := range ids[:min(len(ids), shown)] {
		if !id.IsZero() {
			names = append(names, id.String())
		}
	}
	if more := len(ids) - shown; more > 0 {
		names = append(names, fmt.Sprintf("%d more", more))
	}
	if len(names) == 0 {
		return "nobody"
	}
	return strings.Join(names, " or ")
}
