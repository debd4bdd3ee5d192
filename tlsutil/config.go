package tlsutil

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Options shape the configs. The zero value is good for HTTP and gRPC.
type Options struct {
	// NextProtos are the application protocols to offer (ALPN), best first.
	// Default: h2, http/1.1; an http.Transport then needs ForceAttemptHTTP2. An
	// empty list that is not nil offers none, for peers that speak plain TCP.
	NextProtos []string
	// Sessions is how many TLS sessions a client keeps for resumption, one per
	// server name (or address, if no name is set). Default: 64. Negative turns
	// resumption off, on clients and on servers.
	Sessions int
	// Terms bound versions and cipher suites. Default: TLS 1.3.
	Terms Terms
}

// Validate reports all faults with the names of their fields.
func (o Options) Validate() error {
	var faults []error
	for i, p := range o.NextProtos {
		if p == "" || len(p) > 255 {
			faults = append(faults, fmt.Errorf("NextProtos[%d]: %q: must be of 1 to 255 bytes", i, p))
		}
	}
	if err := o.Terms.Validate(); err != nil {
		faults = append(faults, fmt.Errorf("Terms.%w", err))
	}
	return errors.Join(faults...)
}

// ClientConfig returns a config for the calling end: it shows the source's
// certificate and accepts the servers that authorize welcomes. ServerName is
// left to the caller; it chooses the SNI and the cached session, and is never
// compared with the certificate. A nil authorize accepts nobody.
//
// A handshake that refuses the server returns a [*PeerError]; one without an
// identity of its own an error that wraps [ErrNoIdentity] or [ErrExpired].
//
// Make one config per authorizer, not one per connection: it and its clones
// share one session cache. It is safe for concurrent use, but net/http changes
// the config it is given, so hand each http.Transport a [tls.Config.Clone].
func ClientConfig(src Source, authorize Authorizer, o Options) *tls.Config {
	cfg := baseConfig(o)
	cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		// Shown whatever CAs the server lists: an empty answer would only
		// hide who was refused.
		return certificate(src)
	}
	if o.Sessions >= 0 {
		cfg.ClientSessionCache = newSessions(src, cmp.Or(o.Sessions, 64))
	}
	// Go's own check is by host name. VerifyConnection replaces it and, other
	// than VerifyPeerCertificate, runs for resumed sessions too.
	cfg.InsecureSkipVerify = true
	cfg.VerifyConnection = verifier(src, authorize, x509.ExtKeyUsageServerAuth, nil)
	return cfg
}

// ServerConfig returns a config for the called end: it shows the source's
// certificate, demands one from every client and accepts the clients that
// authorize welcomes. A nil authorize accepts nobody.
//
// It is safe for concurrent use; for a second http.Server take a
// [tls.Config.Clone].
func ServerConfig(src Source, authorize Authorizer, o Options) *tls.Config {
	cfg := baseConfig(o)
	cfg.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		return certificate(src)
	}
	var refused func(error)
	if o.Sessions >= 0 {
		// The tickets are sealed by a config that nobody else can touch.
		t := &tickets{src: src, config: &tls.Config{}}
		cfg.WrapSession, cfg.UnwrapSession = t.wrap, t.unwrap
		refused = t.refused
	}
	// "Any" is not the last word: VerifyConnection is.
	cfg.ClientAuth = tls.RequireAnyClientCert
	cfg.VerifyConnection = verifier(src, authorize, x509.ExtKeyUsageClientAuth, refused)
	return cfg
}

func baseConfig(o Options) *tls.Config {
	protos := slices.Clone(o.NextProtos)
	if protos == nil {
		protos = []string{"h2", "http/1.1"}
	}
	cfg := &tls.Config{
		MinVersion:             tls.VersionTLS13,
		NextProtos:             protos,
		SessionTicketsDisabled: o.Sessions < 0,
	}
	o.Terms.apply(cfg)
	return cfg
}

func certificate(src Source) (*tls.Certificate, error) {
	id, err := current(src)
	if err != nil {
		return nil, err
	}
	return id.Certificate(), nil
}

// verifier makes the one decision about a peer; refused, if given, hears of
// resumed sessions that did not pass.
func verifier(src Source, authorize Authorizer, usage x509.ExtKeyUsage, refused func(error)) func(tls.ConnectionState) error {
	return func(cs tls.ConnectionState) error {
		self, err := current(src)
		if err != nil {
			return err
		}
		if err := verify(cs.PeerCertificates, self, usage, authorize, time.Now()); err != nil {
			if cs.DidResume && refused != nil {
				refused(err)
			}
			return err
		}
		return nil
	}
}
