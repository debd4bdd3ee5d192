package consul

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"time"

	"github.com/innermesh/innermesh/discovery"
)

// registration is the body of /v1/agent/service/register.
type registration struct {
	listing
	Name   string  `json:"Name"`
	Checks []check `json:"Checks"`
}

// listing is what agents and the catalog are told of an instance in the same words.
type listing struct {
	ID       string            `json:"ID"`
	Address  string            `json:"Address"`
	Port     int               `json:"Port"`
	Tags     []string          `json:"Tags,omitempty"`
	Meta     map[string]string `json:"Meta,omitempty"`
	Weights  weights           `json:"Weights"`
	Tagged   tagged            `json:"TaggedAddresses,omitempty"`
	Connect  *connect          `json:"Connect,omitempty"`
	Locality *locality         `json:"Locality,omitempty"`
}

// tagged are addresses by their names.
type tagged map[string]taggedAddress

// in says whether an agent knows these. It adds some of its own.
func (t tagged) in(known tagged) bool {
	for name, at := range t {
		if known[name] != at {
			return false
		}
	}
	return true
}

type weights struct {
	Passing int `json:"Passing"`
	Warning int `json:"Warning"`
}

type connect struct {
	Native bool `json:"Native"`
}

type check struct {
	CheckID                        string `json:"CheckID"`
	Name                           string `json:"Name"`
	TTL                            string `json:"TTL,omitempty"`
	HTTP                           string `json:"HTTP,omitempty"`
	GRPC                           string `json:"GRPC,omitempty"`
	Interval                       string `json:"Interval,omitempty"`
	Status                         string `json:"Status,omitempty"`
	DeregisterCriticalServiceAfter string `json:"DeregisterCriticalServiceAfter,omitempty"`
}

// maxWeight is Consul's.
const maxWeight = 65535

// defaultTTL is that of [discovery.Registration].
const defaultTTL = 15 * time.Second

// newRegistration translates reg, or says everything that is wrong with it.
func newRegistration(reg discovery.Registration) (registration, error) {
	err := reg.Validate()
	if reg.Instance.Weight > maxWeight {
		err = errors.Join(err, fmt.Errorf("Instance.Weight: %d: want %d at most", reg.Instance.Weight, maxWeight))
	}
	if reg.WarningWeight > maxWeight {
		err = errors.Join(err, fmt.Errorf("WarningWeight: %d: want %d at most", reg.WarningWeight, maxWeight))
	}
	if err != nil {
		return registration{}, err
	}
	i := reg.Instance
	at, err := dialled(i.Address)
	if err != nil {
		return registration{}, err
	}
	body := registration{Name: reg.Service, Checks: checks(reg), listing: listing{
		ID: i.ID, Address: at.Address, Port: at.Port,
		Tags: slices.Clone(i.Tags), Meta: maps.Clone(i.Meta),
		Weights: weights{Passing: max(i.Weight, 1), Warning: reg.WarningShare()},
	}}
	for name, addr := range reg.TaggedAddresses {
		at, err := dialled(addr)
		if err != nil {
			return registration{}, err
		}
		if body.Tagged == nil {
			body.Tagged = tagged{}
		}
		body.Tagged[name] = at
	}
	if reg.MeshNative {
		body.Connect = &connect{Native: true}
	}
	if i.Region != "" || i.Zone != "" {
		body.Locality = &locality{i.Region, i.Zone}
	}
	return body, nil
}

// dialled takes an address apart.
func dialled(addr string) (taggedAddress, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return taggedAddress{}, err
	}
	number, err := strconv.Atoi(port)
	return taggedAddress{host, number}, err
}

// checks are how Consul learns that the instance lives: what it may probe, else
// signs of life.
func checks(reg discovery.Registration) []check {
	id := "service:" + reg.Instance.ID
	forget := cmp.Or(reg.DeregisterAfter, 10*time.Minute).String()
	every := cmp.Or(reg.CheckInterval, 5*time.Second).String()
	var all []check
	if reg.CheckHTTP != "" {
		all = append(all, check{CheckID: id + ":http", Name: "answers HTTP", HTTP: reg.CheckHTTP, Interval: every})
	}
	if reg.CheckGRPC != "" {
		all = append(all, check{CheckID: id + ":grpc", Name: "serves gRPC", GRPC: reg.CheckGRPC, Interval: every})
	}
	if all == nil {
		ttl := cmp.Or(reg.TTL, defaultTTL).String()
		all = append(all, check{CheckID: id + ":ttl", Name: "gives signs of life", TTL: ttl, Status: "passing"})
	}
	for i := range all {
		all[i].DeregisterCriticalServiceAfter = forget
	}
	return all
}

// known is what the agent says of a service: the part that we compare.
type known struct {
	Service  string            `json:"Service"`
	Address  string            `json:"Address"`
	Port     int               `json:"Port"`
	Tags     []string          `json:"Tags"`
	Meta     map[string]string `json:"Meta"`
	Weights  weights           `json:"Weights"`
	Tagged   tagged            `json:"TaggedAddresses"`
	Connect  connect           `json:"Connect"`
	Locality locality          `json:"Locality"`
}

// equals says whether the agent knows the service as it was registered.
func (k known) equals(r registration) bool {
	return k.Service == r.Name && k.Address == r.Address && k.Port == r.Port &&
		slices.Equal(k.Tags, r.Tags) && maps.Equal(k.Meta, r.Meta) && k.Weights == r.Weights &&
		r.Tagged.in(k.Tagged) && k.Connect == deref(r.Connect) && k.Locality == deref(r.Locality)
}

func deref[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}
