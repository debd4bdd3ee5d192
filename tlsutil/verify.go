package tlsutil

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"time"
)

// maxChain bounds the certificates a peer may show. Consul's longest chain has
// three.
const maxChain = 8

// PeerID tells who is at the other end of a connection made with a config of
// this package. The name is proven once the handshake is complete; before, or
// on a connection without certificates, the error wraps [ErrNoCertificate].
func PeerID(cs tls.ConnectionState) (ID, error) {
	if !cs.HandshakeComplete || len(cs.PeerCertificates) == 0 {
		return ID{}, &PeerError{Err: ErrNoCertificate}
	}
	id, err := leafID(cs.PeerCertificates[0])
	if err != nil {
		return ID{}, &PeerError{Err: err}
	}
	return id, nil
}

// verify checks a peer's chain from scratch: name, time, roots of the name's
// own trust domain, permission. The order goes from what the peer says to what
// is proven, so that a refusal names as much as is known. All errors are
// *PeerError.
func verify(chain []*x509.Certificate, self *Identity, usage x509.ExtKeyUsage, authorize Authorizer, now time.Time) error {
	if len(chain) == 0 {
		return &PeerError{Err: ErrNoCertificate}
	}
	leaf := chain[0]
	id, err := leafID(leaf)
	if err != nil {
		return &PeerError{Err: err}
	}
	if err := timely(leaf, now); err != nil {
		return &PeerError{Peer: id, Err: err}
	}
	pool, ok := self.roots.pools[id.TrustDomain()]
	if !ok {
		return &PeerError{
			Peer:     id,
			Expected: fmt.Sprintf("a trust domain of %q", self.roots.Domains()),
			Err:      fmt.Errorf("%w: %w, %s", ErrUntrusted, ErrForeignDomain, id.TrustDomain()),
		}
	}
	if err := verifyChain(chain, pool, usage, now); err != nil {
		return &PeerError{Peer: id, Err: err}
	}
	if authorize == nil {
		return &PeerError{Peer: id, Err: fmt.Errorf("%w: no authorizer was given", ErrDenied)}
	}
	if err := authorize(id, self.id); err != nil {
		if !errors.Is(err, ErrDenied) {
			err = fmt.Errorf("%w: %w", ErrDenied, err)
		}
		if pe, ok := errors.AsType[*PeerError](err); ok && errors.Is(pe, ErrDenied) {
			return pe
		}
		return &PeerError{Peer: id, Err: err}
	}
	return nil
}

func verifyChain(chain []*x509.Certificate, roots *x509.CertPool, usage x509.ExtKeyUsage, now time.Time) error {
	if len(chain) > maxChain {
		return fmt.Errorf("%w: %w: %d certificates, %d are allowed", ErrUntrusted, ErrTooDeep, len(chain), maxChain)
	}
	between := x509.NewCertPool()
	for _, cert := range chain[1:] {
		between.AddCert(cert)
	}
	_, err := chain[0].Verify(x509.VerifyOptions{
		Roots:         roots,
		Intermediates: between,
		CurrentTime:   now,
		KeyUsages:     []x509.ExtKeyUsage{usage},
	})
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUntrusted, err)
	}
	return nil
}

// leafID reads the name of a certificate that is to be used as an identity.
// X.509-SVID standard, sections 2 (one URI), 4 and 5.2 (no CA, no right to
// sign, a path in the name).
func leafID(leaf *x509.Certificate) (ID, error) {
	if leaf.IsCA || leaf.KeyUsage&(x509.KeyUsageCertSign|x509.KeyUsageCRLSign) != 0 {
		return ID{}, ErrNotLeaf
	}
	uris, err := subjectURIs(leaf)
	if err != nil {
		return ID{}, err
	}
	if len(uris) != 1 {
		return ID{}, fmt.Errorf("%w: it has %d", ErrOneURI, len(uris))
	}
	id, err := ParseID(uris[0])
	if err != nil {
		return ID{}, err
	}
	if id.Path() == "" {
		return ID{}, badID(uris[0], "a path is missing: it names a trust domain, not a service")
	}
	return id, nil
}

// subjectURIs returns the URIs byte for byte as they stand in the certificate:
// crypto/x509 gives parsed ones, which no longer show an upper-case scheme or an
// empty fragment.
func subjectURIs(cert *x509.Certificate) ([]string, error) {
	const tagURI = 6 // GeneralName, RFC 5280, section 4.2.1.6
	subjectAltName := asn1.ObjectIdentifier{2, 5, 29, 17}
	var uris []string
	for _, ext := range cert.Extensions {
		if !ext.Id.Equal(subjectAltName) {
			continue
		}
		var names []asn1.RawValue
		if rest, err := asn1.Unmarshal(ext.Value, &names); err != nil || len(rest) > 0 {
			return nil, fmt.Errorf("%w: its names are malformed", ErrOneURI)
		}
		for _, name := range names {
			if name.Class == asn1.ClassContextSpecific && name.Tag == tagURI {
				uris = append(uris, string(name.Bytes))
			}
		}
	}
	return uris, nil
}
