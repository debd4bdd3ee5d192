package tlsutil

import (
	"crypto"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Identity is who this process is and whom it can check: a certificate with its
// chain and key, and the roots. It is immutable and safe for concurrent use;
// renewal makes a new one.
type Identity struct {
	id ID
	// cert is a pointer so that fmt, which follows none below the first, never
	// prints the key, whatever holds the Identity.
	cert  *tls.Certificate
	roots *Roots
	// mark is equal for identities that share leaf and roots. TLS sessions made
	// under another mark are not resumed.
	mark [sha256.Size]byte
}

// NewIdentity takes a certificate (leaf first, then intermediates, with the
// key) and the roots. It refuses a leaf that may not be used as an identity, a
// key that does not belong to it and roots that lack the leaf's trust domain.
// It does not look at the time and does not check the chain.
//
// The certificate must not be changed afterwards.
func NewIdentity(cert tls.Certificate, roots *Roots) (*Identity, error) {
	if len(cert.Certificate) == 0 {
		return nil, fmt.Errorf("new identity: %w", ErrNoCertificate)
	}
	if roots == nil {
		return nil, errors.New("new identity: no roots given")
	}
	if cert.Leaf == nil {
		leaf, err := x509.ParseCertificate(cert.Certificate[0])
		if err != nil {
			return nil, fmt.Errorf("new identity: parse certificate: %w", err)
		}
		cert.Leaf = leaf
	}
	id, err := leafID(cert.Leaf)
	if err != nil {
		return nil, fmt.Errorf("new identity: %w", err)
	}
	signer, ok := cert.PrivateKey.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("new identity of %s: the key can not sign", id)
	}
	public, ok := signer.Public().(interface{ Equal(crypto.PublicKey) bool })
	if !ok || !public.Equal(cert.Leaf.PublicKey) {
		return nil, fmt.Errorf("new identity of %s: the key does not belong to the certificate", id)
	}
	if _, ok := roots.pools[id.TrustDomain()]; !ok {
		return nil, fmt.Errorf("new identity of %s: the roots are for %q only", id, roots.Domains())
	}
	return &Identity{
		id:    id,
		cert:  &cert,
		roots: roots,
		mark:  sha256.Sum256(append(slices.Clip(cert.Leaf.Raw), roots.sum[:]...)),
	}, nil
}

// ID returns the name that the certificate carries.
func (i *Identity) ID() ID { return i.id }

// Certificate returns leaf, chain and key. The receiver must not change it, nor
// let it reach a log.
func (i *Identity) Certificate() *tls.Certificate { return i.cert }

// Roots returns whom this identity can check.
func (i *Identity) Roots() *Roots { return i.roots }

// NotAfter returns when the leaf expires.
func (i *Identity) NotAfter() time.Time { return i.cert.Leaf.NotAfter }

// Valid returns nil if the leaf can be shown at that time, else an error
// that wraps [ErrExpired] or [ErrNotYetValid].
func (i *Identity) Valid(now time.Time) error {
	if err := timely(i.cert.Leaf, now); err != nil {
		return fmt.Errorf("own identity %s: %w", i.id, err)
	}
	return nil
}

// Check says whether peers that trust the same roots will trust this identity at
// that time: nil, or an error that wraps [ErrUntrusted].
func (i *Identity) Check(now time.Time) error {
	chain := []*x509.Certificate{i.cert.Leaf}
	for n, raw := range i.cert.Certificate[1:] {
		cert, err := x509.ParseCertificate(raw)
		if err != nil {
			return fmt.Errorf("intermediate %d: %w", n+1, err)
		}
		chain = append(chain, cert)
	}
	return verifyChain(chain, i.roots.pools[i.id.TrustDomain()], x509.ExtKeyUsageAny, now)
}

// String returns the name, so that printing an identity shows no key.
func (i *Identity) String() string { return i.id.String() }

// GoString does the same for %#v.
func (i *Identity) GoString() string { return "tlsutil.Identity(" + i.id.String() + ")" }

func timely(cert *x509.Certificate, now time.Time) error {
	switch {
	case now.After(cert.NotAfter):
		return fmt.Errorf("%w: at %s, it is %s now", ErrExpired, stamp(cert.NotAfter), stamp(now))
	case now.Before(cert.NotBefore):
		return fmt.Errorf("%w: it begins at %s, it is %s now", ErrNotYetValid, stamp(cert.NotBefore), stamp(now))
	default:
		return nil
	}
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
