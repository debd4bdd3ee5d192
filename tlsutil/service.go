package tlsutil

import (
	"errors"
	"fmt"
	"strings"
)

// defaultTenant is Consul's name for the partition and the namespace that are
// always there.
const defaultTenant = "default"

// ServiceID is the identity of a service in the form that Consul gives it:
//
//	spiffe://<trust domain>/ns/<namespace>/dc/<datacenter>/svc/<service>
//	spiffe://<trust domain>/ap/<partition>/ns/<namespace>/dc/<datacenter>/svc/<service>
//
// Every copy of a service shares it; subsets and versions do not appear in it.
type ServiceID struct {
	// TrustDomain is the domain whose CA vouches for the service. Required.
	TrustDomain string
	// Partition is the admin partition. "" and "default" are the same one,
	// which is left out of the ID.
	Partition string
	// Namespace defaults to "default", the only one without Consul Enterprise.
	Namespace string
	// Datacenter is where the service runs. Required.
	Datacenter string
	// Service is the service's name. Required.
	Service string
}

// ID makes the SPIFFE ID. Errors wrap [ErrBadID] and name every faulty field:
// each must be a valid path segment (letters, digits, '.', '-', '_').
func (s ServiceID) ID() (ID, error) {
	if err := s.Validate(); err != nil {
		return ID{}, err
	}
	s = s.normal()
	segments := []string{"ns", s.Namespace, "dc", s.Datacenter, "svc", s.Service}
	if s.Partition != "" {
		segments = append([]string{"ap", s.Partition}, segments...)
	}
	return NewID(s.TrustDomain, segments...)
}

// Validate reports all faults with the names of their fields.
func (s ServiceID) Validate() error {
	s = s.normal()
	var faults []error
	check := func(field, value, fault string) {
		if fault != "" {
			faults = append(faults, fmt.Errorf("%s: %w", field, badID(value, fault)))
		}
	}
	check("TrustDomain", s.TrustDomain, domainFault(s.TrustDomain))
	if s.Partition != "" {
		check("Partition", s.Partition, segmentFault(s.Partition))
	}
	check("Namespace", s.Namespace, segmentFault(s.Namespace))
	check("Datacenter", s.Datacenter, segmentFault(s.Datacenter))
	check("Service", s.Service, segmentFault(s.Service))
	return errors.Join(faults...)
}

// Service reads the ID as that of a service. An ID of another form (a gateway,
// an agent, a SPIRE workload) is valid but no service: the error wraps
// [ErrNotService]. The default partition is returned as "".
func (id ID) Service() (ServiceID, error) {
	s := ServiceID{TrustDomain: id.TrustDomain()}
	rest := strings.Split(strings.TrimPrefix(id.Path(), "/"), "/")
	if len(rest) == 8 && rest[0] == "ap" {
		s.Partition, rest = rest[1], rest[2:]
	}
	if len(rest) != 6 || rest[0] != "ns" || rest[2] != "dc" || rest[4] != "svc" {
		return ServiceID{}, fmt.Errorf("%w: %q", ErrNotService, id)
	}
	s.Namespace, s.Datacenter, s.Service = rest[1], rest[3], rest[5]
	return s.normal(), nil
}

func (s ServiceID) normal() ServiceID {
	if s.Partition == defaultTenant {
		s.Partition = ""
	}
	if s.Namespace == "" {
		s.Namespace = defaultTenant
	}
	return s
}
