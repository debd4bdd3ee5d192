package mesh

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"

	"github.com/innermesh/innermesh/policy"
	"github.com/innermesh/innermesh/tlsutil"
	"github.com/innermesh/innermesh/tlsutil/consulca"
)

// Certificates returns where this program's identity comes from: the source of
// [TLSOptions], or Consul. It is nil if everything is in plain text. [Mesh.Listen]
// and [Mesh.ServerTLSConfig] use it.
//
// What comes from Consul takes a moment after [New]: [tlsutil.Ready] waits for it.
func (m *Mesh) Certificates() tlsutil.Source { return m.identity }

// openIdentity begins to follow the identity.
func (m *Mesh) openIdentity() error {
	if m.o.TLS.Mode == TLSOff {
		return nil
	}
	m.identity = m.o.TLS.Source
	if m.o.TLS.DevCA != nil {
		source, err := m.o.TLS.DevCA.Source(m.o.Service)
		if err != nil {
			return &OptionError{Field: "TLS.DevCA", Problem: err.Error(), Err: err}
		}
		m.identity = source
	}
	if !m.o.TLS.Consul {
		return nil
	}
	client, err := m.consulClient()
	if err != nil {
		return err
	}
	source, err := consulca.New(client, consulca.Options{Service: m.o.Service, Log: m.log})
	if err != nil {
		return &OptionError{Field: "TLS.Consul", Problem: err.Error(), Err: err}
	}
	m.onClose(func(context.Context) error { return source.Close() })
	m.identity = source
	return nil
}

// native says that this program serves as those do that Consul calls native.
func (m *Mesh) native() bool { return m.o.TLS.Consul && m.o.TLS.Mode != TLSOff }

// secure returns how connections are secured, nil if they are not.
func (m *Mesh) secure() func(context.Context, *policy.Target) (*tls.Config, error) {
	if m.identity == nil || m.o.TLS.PlainCalls {
		return nil
	}
	return func(ctx context.Context, to *policy.Target) (*tls.Config, error) {
		if err := m.awaitIdentity(ctx); err != nil {
			return nil, err
		}
		return m.clientConfig(to), nil
	}
}

// clientConfig returns the one configuration for calls to a target, so that its
// connections can resume each other's sessions.
func (m *Mesh) clientConfig(to *policy.Target) *tls.Config {
	want := tlsutil.ServiceID{Service: to.Service}
	if m.o.TLS.Consul {
		want.Namespace, want.Partition = to.Namespace, to.Partition
		want.Datacenter = cmp.Or(to.Datacenter, m.o.Consul.Datacenter)
	}
	terms := m.security.outgoing()
	old, had := m.configs.Load(want)
	if had && old.(*onTerms).terms.Equal(terms) {
		return old.(*onTerms).config
	}
	// Sources of other CAs need not say where a service is.
	authorize := tlsutil.AuthorizeService(to.Service)
	if m.o.TLS.Consul {
		authorize = tlsutil.AuthorizeTarget(want)
	}
	c := &onTerms{terms, tlsutil.ClientConfig(m.identity, authorize, tlsutil.Options{Terms: terms})}
	m.security.watch(roleClient, c.config)
	if !had {
		if first, late := m.configs.LoadOrStore(want, c); late {
			return first.(*onTerms).config
		}
		return c.config
	}
	m.configs.Store(want, c)
	return c.config
}

// awaitIdentity waits until there is an identity for the first time. It does not
// wait for what somebody has to put right: a token, an agent that no longer
// renews.
func (m *Mesh) awaitIdentity(ctx context.Context) error {
	for {
		changed := m.identity.Changed()
		_, err := m.identity.Identity()
		if !errors.Is(err, tlsutil.ErrNoIdentity) || errors.Is(err, consulca.ErrPermission) {
			return err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return errors.Join(err, context.Cause(ctx))
		}
	}
}
