package discovery

import (
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
)

// Health is what the source knows about an instance. Sources report unhealthy
// instances too: whether one is called is decided by the balancer's side.
type Health uint8

// The states of an instance, best first.
const (
	// Passing: all its checks pass.
	Passing Health = iota
	// Warning: it works, with less weight.
	Warning
	// Critical: it must not be called.
	Critical
)

// String returns Consul's word for the state.
func (h Health) String() string {
	switch h {
	case Passing:
		return "passing"
	case Warning:
		return "warning"
	default:
		return "critical"
	}
}

// Instance is one running copy of a service. Treat it as immutable once it was
// handed to a Source, a Registrar or came out of a Snapshot.
type Instance struct {
	// ID is unique within its service and stays the same as long as the copy
	// runs: breakers and statistics are kept by it.
	ID string
	// Address is where to dial: "host:port", the port in numbers.
	Address string
	// Weight is its share against its siblings; 0 means 1. A source has
	// already chosen between its passing and its warning weight.
	Weight int
	// Health is the source's verdict.
	Health Health
	// Tags and Meta are what the instance registered.
	Tags []string
	Meta map[string]string
	// Datacenter, Region and Zone say where it is, as far as is known.
	Datacenter, Region, Zone string
	// Node is the machine it runs on, as far as is known.
	Node string
}

// Validate says everything that is wrong with the instance.
func (i Instance) Validate() error {
	if i.ID == "" {
		return fmt.Errorf("instance %q has no ID", i.Address)
	}
	return validateAddress(i.Address)
}

func validateAddress(addr string) error {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("address %q: want host:port", addr)
	}
	if host == "" || strings.ContainsAny(host, " /") {
		return fmt.Errorf("address %q: no usable host", addr)
	}
	if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
		return fmt.Errorf("address %q: port must be a number from 1 to 65535", addr)
	}
	return nil
}

// Equal says whether both describe the same copy in the same state.
func (i Instance) Equal(o Instance) bool {
	return i.ID == o.ID && i.Address == o.Address && i.Weight == o.Weight && i.Health == o.Health &&
		i.Datacenter == o.Datacenter && i.Region == o.Region && i.Zone == o.Zone && i.Node == o.Node &&
		slices.Equal(i.Tags, o.Tags) && maps.Equal(i.Meta, o.Meta)
}
