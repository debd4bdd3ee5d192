package mesh

import (
	"context"
	"crypto/tls"
	"sync/atomic"

	"github.com/innermesh/innermesh/internal/listener"
	"github.com/innermesh/innermesh/tlsutil"
	"github.com/innermesh/innermesh/tlsutil/consulca"
)

// security is what all secured connections of this program have in common.
type security struct {
	terms      *consulca.Terms // nil: nobody says anything about them
	server     atomic.Pointer[serving]
	handshaker *listener.Handshaker // nil: plain text
	strangers  *strangers
}

// onTerms is a configuration, and the terms it was made for.
type onTerms struct {
	terms  tlsutil.Terms
	config *tls.Config
}

// serving is how connections are accepted: by our own listener, which counts whom
// it refuses, and by servers that do not.
type serving struct {
	onTerms
	counted *tls.Config
}

// openSecurity follows the terms of TLS, and prepares to serve.
func (m *Mesh) openSecurity() error {
	m.onClose(m.closePrior)
	m.security.strangers = newStrangers(m.log)
	unobserve, err := m.tel.ObserveTLS(m.observeTLS)
	if err != nil {
		return &OptionError{Field: "Telemetry", Problem: err.Error(), Err: err}
	}
	m.onClose(func(context.Context) error { return unobserve() })
	if m.identity == nil {
		return nil
	}
	m.security.handshaker = listener.New(listener.Options{
		Config: m.listenConfig, Permissive: m.o.TLS.Mode == TLSPermissive,
		Timeout: m.o.TLS.HandshakeTimeout, Limit: m.o.TLS.Handshakes, Observer: m.security.strangers,
		Track: m.pathIn.connections.Track,
	})
	if m.consul == nil {
		return nil
	}
	terms, err := consulca.NewTerms(m.consul, m.log)
	if err != nil {
		return err
	}
	m.onClose(func(context.Context) error { return terms.Close() })
	m.security.terms = terms
	return nil
}

// listenConfig returns how our listener accepts a connection.
func (m *Mesh) listenConfig(ctx context.Context) (*tls.Config, error) {
	s, err := m.serving(ctx)
	if err != nil {
		return nil, err
	}
	return s.config, nil
}

// serving returns how a connection is accepted, when there is an identity.
func (m *Mesh) serving(ctx context.Context) (*serving, error) {
	if err := m.awaitIdentity(ctx); err != nil {
		return nil, err
	}
	terms := m.security.incoming()
	now := m.security.server.Load()
	if now != nil && now.terms.Equal(terms) {
		return now, nil
	}
	authorize := m.o.TLS.Authorize
	if authorize == nil {
		authorize = tlsutil.AuthorizeMesh()
	}
	config := tlsutil.ServerConfig(m.identity, authorize, tlsutil.Options{Terms: terms})
	next := &serving{onTerms{terms, config}, config.Clone()}
	m.security.watch(roleServer, next.counted)
	if !m.security.server.CompareAndSwap(now, next) { // somebody was faster
		next = m.security.server.Load()
	}
	return next, nil
}

func (s *security) incoming() tlsutil.Terms {
	if s.terms == nil {
		return tlsutil.Terms{}
	}
	return s.terms.Incoming()
}

func (s *security) outgoing() tlsutil.Terms {
	if s.terms == nil {
		return tlsutil.Terms{}
	}
	return s.terms.Outgoing()
}

// watch has the peers counted that a configuration refuses.
func (s *security) watch(role string, config *tls.Config) {
	verify := config.VerifyConnection
	config.VerifyConnection = func(cs tls.ConnectionState) error {
		err := verify(cs)
		if err != nil {
			s.strangers.refused(role, tlsutil.ReasonOf(err), cs.ServerName, err)
		}
		return err
	}
}
