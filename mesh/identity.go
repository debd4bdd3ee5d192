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
// [TLSOptions], or Consul. It is nil if calls are in plain text. Servers use it:
//
//	tlsutil.ServerConfig(m.Certificates(), tlsutil.AuthorizeService("checkout"), tlsutil.Options{})
//
// What comes from Consul takes a moment after [New]: [tlsutil.Ready] waits for it.
func (m *Mesh) Certificates() tlsutil.Source { return m.identity }

// openIdentity begins to follow the identity.
func (m *Mesh) openIdentity() error {
	m.identity = m.o.TLS.Source
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

// secure returns how connections are secured, nil if they are not.
func (m *Mesh) secure() func(context.Context, *policy.Target) (*tls.Config, error) {
	if m.identity == nil {
		return nil
	}
	return func(ctx context.Context, to *policy.Target) (*tls.Config, error) {
		if m.o.TLS.Consul {
			if err := m.awaitIdentity(ctx); err != nil {
				return nil, err
			}
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
	if c, ok := m.configs.Load(want); ok {
		return c.(*tls.Config)
	}
	// Sources of other CAs need not say where a service is.
	authorize := tlsutil.AuthorizeService(to.Service)
	if m.o.TLS.Consul {
		authorize = tlsutil.AuthorizeTarget(want)
	}
	c, _ := m.configs.LoadOrStore(want, tlsutil.ClientConfig(m.identity, authorize, tlsutil.Options{}))
	return c.(*tls.Config)
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
