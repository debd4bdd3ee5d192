package mesh

import (
	"cmp"
	"context"
	"strings"

	"github.com/innermesh/innermesh/discovery"
	discoveryconsul "github.com/innermesh/innermesh/discovery/consul"
	"github.com/innermesh/innermesh/internal/consul"
	"github.com/innermesh/innermesh/internal/lastgood"
	policyconsul "github.com/innermesh/innermesh/policy/consul"
)

// sources chooses where instances and policies come from.
func (m *Mesh) sources() (discovery.Source, []policySource, error) {
	source, followed, err := m.central()
	if err != nil {
		return nil, nil, err
	}
	if m.o.SnapshotDir != "" {
		source, followed = m.kept(source, followed)
	}
	if m.o.PolicyFile != "" { // it needs no copy
		f, err := newFileDocuments(m.o.PolicyFile)
		if err != nil {
			return nil, nil, &OptionError{Field: "PolicyFile", Problem: err.Error(), Err: err}
		}
		followed = append(followed, f)
	}
	return source, followed, nil
}

// central are the sources that all programs share.
func (m *Mesh) central() (discovery.Source, []policySource, error) {
	m.registrar = m.o.Registrar
	if m.o.Discovery != nil {
		if r, ok := m.o.Discovery.(discovery.Registrar); ok && m.registrar == nil {
			m.registrar = r
		}
		return m.o.Discovery, nil, nil
	}
	client, err := m.consulClient()
	if err != nil {
		return nil, nil, err
	}
	switch {
	case m.registrar != nil:
	case m.o.Consul.Agentless:
		m.registrar = discoveryconsul.NewCatalogRegistrar(client, m.log)
	default:
		m.registrar = discoveryconsul.NewRegistrar(client, m.log)
	}
	prefix := cmp.Or(m.o.Consul.KVPrefix, "innermesh")
	followed := []policySource{
		&entries{policyconsul.New(client, policyconsul.Options{Service: m.o.Service})},
		&kvDocuments{client: client, prefix: prefix},
	}
	return discoveryconsul.New(client, discoveryconsul.Options{Connect: m.callsNatives(), Logger: m.log}), followed, nil
}

// kind tells apart whose instances are kept.
func (m *Mesh) kind() string {
	if m.callsNatives() {
		return " native"
	}
	return ""
}

// callsNatives says that calls go to instances that speak mTLS, by a sidecar if need
// be, and not to what is behind a sidecar.
func (m *Mesh) callsNatives() bool { return m.native() && !m.o.TLS.PlainCalls }

// consulClient is the one client of this program, since watches are shared within
// one. Only build calls it.
func (m *Mesh) consulClient() (*consul.Client, error) {
	if m.consul != nil {
		return m.consul, nil
	}
	client, err := consul.New(consul.Options{
		Address: m.o.Consul.Address, Token: m.o.Consul.Token, TokenFile: m.o.Consul.TokenFile,
		Datacenter: m.o.Consul.Datacenter, Logger: m.log,
	})
	if err != nil {
		return nil, &OptionError{Field: "Consul", Problem: err.Error(), Err: err}
	}
	m.onClose(func(context.Context) error { client.Close(); return nil })
	m.consul = client
	return client, nil
}

// kept puts a copy on disk under each source. A disk that does not do must not
// keep a program from starting.
func (m *Mesh) kept(source discovery.Source, followed []policySource) (discovery.Source, []policySource) {
	agent := ""
	if m.consul != nil {
		agent = m.consul.Address()
	}
	store, err := lastgood.Open(m.o.SnapshotDir, lastgood.Options{
		Service: m.o.Service, Log: m.log,
		Fingerprint: strings.Join([]string{keptFormat, agent, m.o.Consul.Datacenter, m.o.Consul.KVPrefix}, " ") + m.kind(),
	})
	if err != nil {
		m.log.Warn("nothing is kept on disk: a start while the sources are down will find nothing", "dir", m.o.SnapshotDir, "error", err)
		return source, followed
	}
	m.store = store
	m.onClose(func(context.Context) error { return store.Close() })
	for i, s := range followed {
		followed[i] = &keptPolicies{policySource: s, store: store, log: m.log}
	}
	return &keptSource{Source: source, store: store, log: m.log}, followed
}
