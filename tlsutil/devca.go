package tlsutil

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"net/url"
	"time"
)

const (
	// devCALifetime outlives every process that should use such a CA.
	devCALifetime = 10 * 365 * 24 * time.Hour
	// devSkew is how far certificates reach back, as Consul's do: for peers
	// whose clocks are behind.
	devSkew = time.Minute
)

// DevCAOptions shape a development CA. The zero value is good.
type DevCAOptions struct {
	// TrustDomain of all identities. Default: "dev.internal".
	TrustDomain string
	// Namespace and Datacenter of all identities. Defaults: "default", "dc1".
	Namespace, Datacenter string
	// LeafLifetime is how long an identity lasts, rounded up to seconds; it is
	// renewed after about two thirds of it. Default: 1 h. At least 1 s.
	LeafLifetime time.Duration
}

// Validate reports all faults with the names of their fields.
func (o DevCAOptions) Validate() error {
	var faults []error
	if o.LeafLifetime < 0 || o.LeafLifetime > 0 && o.LeafLifetime < time.Second {
		faults = append(faults, fmt.Errorf("LeafLifetime: %s: at least 1s is needed, 0 means 1h", o.LeafLifetime))
	}
	faults = append(faults, o.service("any").Validate())
	return errors.Join(faults...)
}

// service is the full name of one of this CA's services.
func (o DevCAOptions) service(name string) ServiceID {
	s := ServiceID{TrustDomain: o.TrustDomain, Namespace: o.Namespace, Datacenter: o.Datacenter, Service: name}
	if s.TrustDomain == "" {
		s.TrustDomain = "dev.internal"
	}
	if s.Datacenter == "" {
		s.Datacenter = "dc1"
	}
	return s
}

// DevCA is a certificate authority for development and tests. It lives in
// memory and is forgotten with the process; whoever holds it can be anybody. Two
// of them never trust each other, even with the same trust domain.
//
// It signs ECDSA P-256 leaves itself and no other CA (path length 0). Safe for
// concurrent use; it starts no goroutine.
type DevCA struct {
	opts  DevCAOptions
	key   *ecdsa.PrivateKey
	cert  *x509.Certificate
	roots *Roots
}

// NewDevCA makes a CA. It fails only if options are wrong.
func NewDevCA(o DevCAOptions) (*DevCA, error) {
	if err := o.Validate(); err != nil {
		return nil, fmt.Errorf("development CA: %w", err)
	}
	if o.LeafLifetime == 0 {
		o.LeafLifetime = time.Hour
	}
	domain := o.service("").TrustDomain
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("development CA: make key: %w", err)
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber:          devSerial(),
		Subject:               pkix.Name{CommonName: "innermesh development CA"},
		URIs:                  []*url.URL{{Scheme: "spiffe", Host: domain}},
		NotBefore:             now.Add(-devSkew),
		NotAfter:              now.Add(devCALifetime),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true,
	}
	cert, err := sign(template, template, &key.PublicKey, key)
	if err != nil {
		return nil, fmt.Errorf("development CA: %w", err)
	}
	roots, err := NewRoots(map[string][]*x509.Certificate{domain: {cert}})
	if err != nil {
		return nil, fmt.Errorf("development CA: %w", err)
	}
	return &DevCA{opts: o, key: key, cert: cert, roots: roots}, nil
}

// Roots returns what verifies this CA's identities.
func (ca *DevCA) Roots() *Roots { return ca.roots }

// ID returns the name that a service of this CA has. Errors wrap [ErrBadID].
func (ca *DevCA) ID(service string) (ID, error) { return ca.opts.service(service).ID() }

// Source makes an identity of that service, which renews itself.
func (ca *DevCA) Source(service string) (*DevSource, error) {
	id, err := ca.ID(service)
	if err != nil {
		return nil, fmt.Errorf("development CA: identity of a service: %w", err)
	}
	src := &DevSource{ca: ca, id: id}
	if err := src.Rotate(); err != nil {
		return nil, err
	}
	return src, nil
}

// leaf is the template of an identity that begins now.
func (ca *DevCA) leaf(id ID, now time.Time) *x509.Certificate {
	// Certificates speak in whole seconds, and cut off the rest. Rounded up, a
	// lifetime of a second is no less than that.
	notAfter := now.Add(ca.opts.LeafLifetime + time.Second - time.Nanosecond).Truncate(time.Second)
	if notAfter.After(ca.cert.NotAfter) {
		notAfter = ca.cert.NotAfter
	}
	return &x509.Certificate{
		SerialNumber:          devSerial(),
		URIs:                  []*url.URL{{Scheme: "spiffe", Host: id.TrustDomain(), Path: id.Path()}},
		NotBefore:             now.Add(-devSkew),
		NotAfter:              notAfter,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		BasicConstraintsValid: true,
	}
}

// issue makes a fresh key and signs a leaf for it.
func (ca *DevCA) issue(template *x509.Certificate) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("make key: %w", err)
	}
	leaf, err := sign(template, ca.cert, &key.PublicKey, ca.key)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: key, Leaf: leaf}, nil
}

func sign(template, parent *x509.Certificate, public *ecdsa.PublicKey, signer *ecdsa.PrivateKey) (*x509.Certificate, error) {
	raw, err := x509.CreateCertificate(rand.Reader, template, parent, public, signer)
	if err != nil {
		return nil, fmt.Errorf("sign certificate: %w", err)
	}
	return x509.ParseCertificate(raw)
}

// devSerial is unguessable and positive, and fits the 20 bytes of RFC 5280,
// section 4.1.2.2.
func devSerial() *big.Int {
	b := make([]byte, 16)
	rand.Read(b)
	b[0] |= 1
	return new(big.Int).SetBytes(b)
}
