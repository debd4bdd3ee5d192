package mesh

import (
	"cmp"
	"context"

	"github.com/innermesh/innermesh/discovery"
	discoveryconsul "github.com/innermesh/innermesh/discovery/consul"
	"github.com/innermesh/innermesh/internal/consul"
	policyconsul "github.com/innermesh/innermesh/policy/consul"
)

// sources chooses where instances and policy documents come from.
func (m *Mesh) sources() (discovery.Source, []policySource, error) {
	m.registrar = m.o.Registrar
	if m.o.Discovery != nil {
		if r, ok := m.o.Discovery.(discovery.Registrar); ok && m.registrar == nil {
			m.registrar = r
		}
		return m.o.Discovery, nil, nil
	}
	client, err := consul.New(consul.Options{
		Address: m.o.Consul.Address, Token: m.o.Consul.Token, TokenFile: m.o.Consul.TokenFile,
		Datacenter: m.o.Consul.Datacenter, Logger: m.log,
	})
	if err != nil {
		return nil, nil, &OptionError{Field: "Consul", Problem: err.Error(), Err: err}
	}
	m.onClose(func(context.Context) error { client.Close(); return nil })
	if m.registrar == nil {
		m.registrar = discoveryconsul.NewRegistrar(client, m.log)
	}
	prefix := cmp.Or(m.o.Consul.KVPrefix, "innermesh")
	policies := []policySource{
		&entries{policyconsul.New(client, policyconsul.Options{Service: m.o.Service})},
		&kvDocuments{client: client, prefix: prefix},
	}
	return discoveryconsul.New(client, discoveryconsul.Options{Logger: m.log}), policies, nil
}
