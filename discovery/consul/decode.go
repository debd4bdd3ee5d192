package consul

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net"
	"slices"
	"strconv"

	"github.com/innermesh/innermesh/discovery"
	"github.com/innermesh/innermesh/internal/consul"
)

// entry is one instance as Consul's health endpoints tell it: what we read of it.
type entry struct {
	Node struct {
		Node, Address, Datacenter string
		TaggedAddresses           map[string]string
		Meta                      map[string]string
		Locality                  *locality
	}
	Service struct {
		ID, Address     string
		Port            int
		TaggedAddresses map[string]struct {
			Address string
			Port    int
		}
		Tags     []string
		Meta     map[string]string
		Weights  struct{ Passing, Warning *int }
		Locality *locality
	}
	Checks []struct{ Status string }
}

type locality struct{ Region, Zone string }

// Where an instance is can also be told by its node's meta, for those who do
// not use Consul's locality.
const (
	metaRegion = "region"
	metaZone   = "zone"
)

// decode reads an answer. unusable names the instances without an address.
func decode(body []byte, local string) (instances []discovery.Instance, unusable []string, err error) {
	var entries []entry
	if len(body) > 0 {
		if err := json.Unmarshal(body, &entries); err != nil {
			return nil, nil, fmt.Errorf("%w: %w", consul.ErrMalformed, err)
		}
	}
	seen := make(map[string]bool, len(entries))
	for _, e := range entries {
		i := e.instance(local)
		if i.Validate() != nil || seen[i.ID] {
			unusable = append(unusable, i.ID)
			continue
		}
		seen[i.ID] = true
		instances = append(instances, i)
	}
	slices.SortFunc(instances, func(a, b discovery.Instance) int { return cmp.Compare(a.ID, b.ID) })
	return instances, unusable, nil
}

// instance translates an entry. Service IDs are unique on their node only.
func (e *entry) instance(local string) discovery.Instance {
	host, port := e.address(local)
	i := discovery.Instance{
		ID:      e.Node.Node + "/" + e.Service.ID,
		Address: net.JoinHostPort(host, strconv.Itoa(port)),
		Tags:    e.Service.Tags, Meta: e.Service.Meta,
		Datacenter: e.Node.Datacenter, Node: e.Node.Node,
		Region: e.Node.Meta[metaRegion], Zone: e.Node.Meta[metaZone],
	}
	for _, l := range []*locality{e.Node.Locality, e.Service.Locality} { // the service's own word counts last
		if l != nil {
			i.Region, i.Zone = cmp.Or(l.Region, i.Region), cmp.Or(l.Zone, i.Zone)
		}
	}
	for _, c := range e.Checks {
		i.Health = max(i.Health, health(c.Status))
	}
	weight := e.Service.Weights.Passing
	if i.Health == discovery.Warning {
		if weight = e.Service.Weights.Warning; weight != nil && *weight < 1 {
			i.Health = discovery.Critical // a weight of nothing
		}
	}
	if i.Weight = 1; weight != nil {
		i.Weight = max(*weight, 1)
	}
	return i
}

// address is Consul's BestAddress rule: an instance of another datacenter is
// reached by its wan address.
func (e *entry) address(local string) (string, int) {
	host, port := cmp.Or(e.Service.Address, e.Node.Address), e.Service.Port
	if local == "" || e.Node.Datacenter == "" || e.Node.Datacenter == local {
		return host, port
	}
	if wan, ok := e.Service.TaggedAddresses["wan"]; ok && wan.Address != "" {
		return wan.Address, cmp.Or(wan.Port, port)
	}
	return cmp.Or(e.Service.Address, e.Node.TaggedAddresses["wan"], e.Node.Address), port
}

func health(status string) discovery.Health {
	switch status {
	case "passing":
		return discovery.Passing
	case "warning":
		return discovery.Warning
	default: // critical, maintenance, and whatever may come
		return discovery.Critical
	}
}
