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
		ID              string            `json:"ID"`
		Node            string            `json:"Node"`
		Address         string            `json:"Address"`
		Datacenter      string            `json:"Datacenter"`
		TaggedAddresses map[string]string `json:"TaggedAddresses"`
		Meta            map[string]string `json:"Meta"`
		Locality        locality          `json:"Locality"`
	} `json:"Node"`
	Service struct {
		ID              string                   `json:"ID"`
		Address         string                   `json:"Address"`
		Port            int                      `json:"Port"`
		SocketPath      string                   `json:"SocketPath"`
		TaggedAddresses map[string]taggedAddress `json:"TaggedAddresses"`
		Tags            []string                 `json:"Tags"`
		Meta            map[string]string        `json:"Meta"`
		Weights         struct {
			Passing *int `json:"Passing"`
			Warning *int `json:"Warning"`
		} `json:"Weights"`
		Locality locality `json:"Locality"`
	} `json:"Service"`
	Checks []struct {
		Status string `json:"Status"`
	} `json:"Checks"`
}

type taggedAddress struct {
	Address string `json:"Address"`
	Port    int    `json:"Port"`
}

type locality struct {
	Region string `json:"Region,omitempty"`
	Zone   string `json:"Zone,omitempty"`
}

// Where an instance is can also be told by its node's meta, for those who do
// not use Consul's locality.
const (
	metaRegion = "region"
	metaZone   = "zone"
)

// decoded is an answer as it was read.
type decoded struct {
	instances []discovery.Instance // by ID
	unusable  []string             // IDs of instances that can not be dialled
	machines  map[string]string    // the identities of the agents by their nodes' names
}

// decode reads an answer; local is our datacenter, or empty if all instances are
// in it.
func decode(body []byte, local string) (decoded, error) {
	var entries []entry
	if len(body) > 0 {
		if err := json.Unmarshal(body, &entries); err != nil {
			return decoded{}, fmt.Errorf("%w: %w", consul.ErrMalformed, err)
		}
	}
	d := decoded{machines: map[string]string{}}
	seen := make(map[string]bool, len(entries))
	for _, e := range entries {
		if e.Node.ID != "" {
			d.machines[e.Node.Node] = e.Node.ID
		}
		i := e.instance(local)
		if e.Service.SocketPath != "" || i.Validate() != nil || seen[i.ID] {
			d.unusable = append(d.unusable, i.ID)
			continue
		}
		seen[i.ID] = true
		d.instances = append(d.instances, i)
	}
	slices.SortFunc(d.instances, func(a, b discovery.Instance) int { return cmp.Compare(a.ID, b.ID) })
	return d, nil
}

// instance translates an entry. Service IDs are unique on their node only.
func (e *entry) instance(local string) discovery.Instance {
	host, port := e.address(local)
	node, service := e.Node, e.Service
	i := discovery.Instance{
		ID:      node.Node + "/" + service.ID,
		Address: net.JoinHostPort(host, strconv.Itoa(port)),
		Tags:    service.Tags, Meta: service.Meta,
		Datacenter: node.Datacenter, Node: node.Node,
		Region: cmp.Or(service.Locality.Region, node.Locality.Region, node.Meta[metaRegion]),
		Zone:   cmp.Or(service.Locality.Zone, node.Locality.Zone, node.Meta[metaZone]),
	}
	for _, c := range e.Checks { // those of the node count as those of the service
		i.Health = max(i.Health, health(c.Status))
	}
	weight := service.Weights.Passing
	if i.Health == discovery.Warning {
		weight = service.Weights.Warning
	}
	if i.Weight = 1; weight != nil {
		i.Weight = max(*weight, 1)
		if *weight < 1 { // as sidecars see it
			i.Health = discovery.Critical
		}
	}
	return i
}

// address is where Consul's sidecars dial an instance: one of another datacenter
// by its wan address.
func (e *entry) address(local string) (string, int) {
	service, node := e.Service, e.Node
	if local == "" || node.Datacenter == "" || node.Datacenter == local {
		return cmp.Or(service.Address, node.Address), service.Port
	}
	if wan := service.TaggedAddresses["wan"]; wan.Address != "" {
		return wan.Address, cmp.Or(wan.Port, service.Port)
	}
	return cmp.Or(service.Address, node.TaggedAddresses["wan"], node.Address), service.Port
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
