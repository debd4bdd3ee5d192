package mesh

import (
	"context"

	"github.com/innermesh/innermesh/discovery"
	discoveryconsul "github.com/innermesh/innermesh/discovery/consul"
	"github.com/innermesh/innermesh/internal/consul"
)

// sources chooses where instances and policy documents come from.
func (m *Mesh) sources() (discovery.Source, documents, error) {
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
	return discoveryconsul.New(client, discoveryconsul.Options{Logger: m.log}), &consulDocuments{client}, nil
}

// consulDocuments are policy documents in Consul's KV store.
type consulDocuments struct{ client *consul.Client }

// Watch implements documents. That a key can not be read is the client's to
// tell; whatever was read before stays in force.
func (d *consulDocuments) Watch(ctx context.Context, key string, tell func(data []byte, found bool)) error {
	return d.client.WatchKV(ctx, key, func(kv consul.KV) {
		if kv.Err == nil {
			tell(kv.Value, kv.Found)
		}
	})
}
