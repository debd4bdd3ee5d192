package consulsign

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/url"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/hashicorp/consul/proto-public/pbconnectca"

	"github.com/innermesh/innermesh/tlsutil"
)

// signer has requests signed.
type signer struct {
	o  Options
	ca pbconnectca.ConnectCAServiceClient
}

// issue makes a key and has a certificate for it signed. Every certificate has a
// key of its own.
func (s *signer) issue(ctx context.Context, a tlsutil.Authority) (tls.Certificate, error) {
	id, err := s.o.name(a.Domain).ID()
	if err != nil {
		return tls.Certificate{}, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("make a key: %w", err)
	}
	request, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		SignatureAlgorithm: x509.ECDSAWithSHA256,
		URIs:               []*url.URL{{Scheme: "spiffe", Host: id.TrustDomain(), Path: id.Path()}},
	}, key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("make a signing request: %w", err)
	}
	answer, err := s.ca.Sign(withToken(ctx, s.o.Token), &pbconnectca.SignRequest{
		Csr: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: request})),
	})
	if err != nil {
		return tls.Certificate{}, explained("sign the certificate", err)
	}
	chain, err := tlsutil.ParseCerts([]byte(answer.GetCertPem()))
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("certificate from Consul: %w", err)
	}
	cert := tls.Certificate{PrivateKey: key, Leaf: chain[0]}
	for _, c := range chain {
		cert.Certificate = append(cert.Certificate, c.Raw)
	}
	// It is the CA that says who somebody is, but it must be what was asked.
	if uris := cert.Leaf.URIs; len(uris) != 1 || uris[0].String() != id.String() {
		return tls.Certificate{}, fmt.Errorf("certificate from Consul: it is for %v, %s was asked", uris, id)
	}
	return cert, nil
}

// explained says what a refusal means. What the server says has no token in it.
func explained(what string, err error) error {
	code := status.Code(err)
	if code == codes.PermissionDenied || code == codes.Unauthenticated {
		return fmt.Errorf("%s: %w: %w", what, ErrPermission, err)
	}
	return fmt.Errorf("%s: %w", what, err)
}
