package tlsutil

import (
	"crypto/tls"
	"crypto/x509"
	"time"
)

// Proves says who the client of a connection is, whoever has secured it: the
// chain that it has shown is checked from scratch against this identity's
// roots. Where a config of this package has made the handshake, [PeerID] is
// enough and costs less. Errors are [*PeerError].
func (i *Identity) Proves(cs tls.ConnectionState, now time.Time) (ID, error) {
	if !cs.HandshakeComplete {
		return ID{}, &PeerError{Err: ErrNoCertificate}
	}
	if err := verify(cs.PeerCertificates, i, x509.ExtKeyUsageClientAuth, AuthorizeAny(), now); err != nil {
		return ID{}, err
	}
	return leafID(cs.PeerCertificates[0])
}
