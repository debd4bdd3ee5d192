package consul

import (
	"slices"
	"time"
)

// Every instance in the catalog has a node of its own, which a prefix keeps apart
// from those of agents, in names and in rights.
const nodePrefix = "innermesh-"

// catalogEntry is the body of /v1/catalog/register. The session check is one that
// the servers keep themselves: passing while the node has a session of that name.
type catalogEntry struct {
	Node           string            `json:"Node"`
	Address        string            `json:"Address"`
	NodeMeta       map[string]string `json:"NodeMeta,omitempty"`
	SkipNodeUpdate bool              `json:"SkipNodeUpdate,omitempty"`
	Service        *catalogService   `json:"Service,omitempty"`
	Checks         []catalogCheck    `json:"Checks,omitempty"`
}

type catalogService struct {
	listing
	Service string `json:"Service"`
}

type catalogCheck struct {
	Node       string     `json:"Node,omitempty"`
	CheckID    string     `json:"CheckID"`
	Name       string     `json:"Name"`
	Type       string     `json:"Type,omitempty"`
	Status     string     `json:"Status"`
	Output     string     `json:"Output,omitempty"`
	Notes      string     `json:"Notes,omitempty"`
	ServiceID  string     `json:"ServiceID"`
	Definition definition `json:"Definition,omitzero"`

	ModifyIndex uint64 `json:"ModifyIndex,omitempty"`
}

type definition struct {
	SessionName string `json:"SessionName,omitempty"`
	Forget      string `json:"DeregisterCriticalServiceAfter,omitempty"`
}

// newEntry is the entry of a registration without its checks.
func newEntry(r registration) catalogEntry {
	return catalogEntry{
		Node: nodePrefix + r.ID, Address: r.Address, NodeMeta: map[string]string{"innermesh": "agentless"},
		Service: &catalogService{listing: r.listing, Service: r.Name},
	}
}

// The checks of an instance: that it lives, how it says that it is, and the flag
// of its maintenance, which has the name that agents give it.
func livesID(id string) string       { return "service:" + id + ":session" }
func stateID(id string) string       { return "service:" + id + ":state" }
func maintenanceID(id string) string { return "_service_maintenance:" + id }

// sessionTTL is that of a session that is to be over after ttl without a sign of
// life: servers wait for twice the TTL of a session, and take no less than 10 s.
func sessionTTL(ttl time.Duration) time.Duration { return max(ttl/2, 10*time.Second) }

// catalogNode is what the catalog says of a node.
type catalogNode struct {
	Node *struct {
		Address string `json:"Address"`
	} `json:"Node"`
	Services []struct {
		known
		ID string `json:"ID"`
	} `json:"Services"`
}

// has says whether the node is there with the instance as it was registered.
func (n catalogNode) has(r registration) bool {
	return n.Node != nil && n.Node.Address == r.Address && len(n.Services) == 1 &&
		n.Services[0].ID == r.ID && n.Services[0].equals(r)
}

// find is the check with an ID.
func find(checks []catalogCheck, id string) (catalogCheck, bool) {
	i := slices.IndexFunc(checks, func(c catalogCheck) bool { return c.CheckID == id })
	if i < 0 {
		return catalogCheck{}, false
	}
	return checks[i], true
}
