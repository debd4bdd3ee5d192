package mesh

import (
	"errors"
	"fmt"
)

// oneName names what a registration gives another name than the identity has.
//
// An identity of Consul's CA is that of one service, and callers, sidecars among
// them, demand that of the very name that they call. What is registered by another
// name would be found, called and refused. Nor may the catalog say that another
// identity will do: identities are what tells whether the catalog is right.
func (m *Mesh) oneName(r Registration) error {
	if !m.native() {
		return nil
	}
	var faults []error
	if r.Service != "" && r.Service != m.o.Service {
		faults = append(faults, m.otherName("Registration.Service", r.Service))
	}
	for i, p := range r.Ports {
		faults = append(faults, m.otherName(fmt.Sprintf("Registration.Ports[%d]", i), m.o.Service+"-"+p.Name))
	}
	return errors.Join(faults...)
}

// oneNameServed is oneName for what will be registered when it is served.
func (m *Mesh) oneNameServed(s Serving) error {
	if s.Unregistered || m.registrar == nil {
		return nil
	}
	err := m.oneName(s.Registration)
	if m.native() && s.GRPCAddr != "" {
		err = errors.Join(err, m.otherName("Serving.GRPCAddr", m.o.Service+"-grpc"))
	}
	return err
}

func (m *Mesh) otherName(field, name string) error {
	const format = "makes it %q to callers, who refuse the identity %q that Consul gives this program: " +
		"use one port and name, or serve it by another mesh with Options.Service %q"
	return &OptionError{Field: field, Problem: fmt.Sprintf(format, name, m.o.Service, name)}
}
