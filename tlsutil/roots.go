package tlsutil

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// Roots are the CA certificates that are trusted, by trust domain: a CA speaks
// for its own domain and for no other. Roots are immutable and safe for
// concurrent use.
type Roots struct {
	pools map[string]*x509.CertPool
	certs map[string][]*x509.Certificate
	// sum is equal for equal sets, whatever their order.
	sum [sha256.Size]byte
}

// NewRoots takes the CA certificates of each trust domain. During a change of
// CA, give the old ones and the new ones. It reports all faults: a malformed
// domain, a domain without certificates, a certificate that is no CA.
func NewRoots(byDomain map[string][]*x509.Certificate) (*Roots, error) {
	r := &Roots{pools: make(map[string]*x509.CertPool, len(byDomain)), certs: make(map[string][]*x509.Certificate, len(byDomain))}
	var faults []error
	if len(byDomain) == 0 {
		faults = append(faults, errors.New("roots: at least one trust domain is needed"))
	}
	sum := sha256.New()
	for _, domain := range slices.Sorted(maps.Keys(byDomain)) {
		certs := byDomain[domain]
		if fault := domainFault(domain); fault != "" {
			faults = append(faults, fmt.Errorf("roots: %w", badID(domain, fault)))
		}
		if len(certs) == 0 {
			faults = append(faults, fmt.Errorf("roots of %q: no certificate", domain))
		}
		pool := x509.NewCertPool()
		digests := make([][]byte, 0, len(certs))
		for i, cert := range certs {
			if !cert.IsCA {
				faults = append(faults, fmt.Errorf("roots of %q: certificate %d is not a CA", domain, i+1))
				continue
			}
			pool.AddCert(cert)
			digest := sha256.Sum256(cert.Raw)
			digests = append(digests, digest[:])
		}
		slices.SortFunc(digests, bytes.Compare)
		sum.Write([]byte(domain + "\n"))
		for _, d := range slices.CompactFunc(digests, bytes.Equal) {
			sum.Write(d)
		}
		r.pools[domain], r.certs[domain] = pool, slices.Clone(certs)
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	sum.Sum(r.sum[:0])
	return r, nil
}

// Domains returns the trust domains that have roots, sorted.
func (r *Roots) Domains() []string { return slices.Sorted(maps.Keys(r.pools)) }

// Certificates returns the roots of one trust domain. The receiver must not change
// them.
func (r *Roots) Certificates(trustDomain string) []*x509.Certificate {
	return slices.Clone(r.certs[trustDomain])
}

// Pool returns a copy of the roots of one trust domain, nil if there are none.
func (r *Roots) Pool(trustDomain string) *x509.CertPool {
	pool, ok := r.pools[trustDomain]
	if !ok {
		return nil
	}
	return pool.Clone()
}
