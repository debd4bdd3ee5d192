package mesh

import (
	"errors"

	"github.com/innermesh/innermesh/discovery"
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
	return nil, nil, errors.New("consul not wired yet")
}
