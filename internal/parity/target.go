package parity

import (
	"fmt"
	"strings"
)

// failoverPrefix begins the names of the clusters that are levels of another.
const failoverPrefix = "failover-target~"

// Key returns the key of [Upstream.Clusters] for a target, in the community
// edition. subset may be "".
func Key(subset, service, datacenter string) string {
	key := service + ".default.default." + datacenter
	if subset != "" {
		key = subset + "." + key
	}
	return key
}

// targetID turns the name of a cluster, or a server name,
//
//	[failover-target~N~][customization~][subset.]service.namespace.datacenter.internal.trust-domain
//
// into the ID that the target has in a discovery chain. Partitions other than
// the default one are not for the community edition.
func targetID(name string) (string, error) {
	plain := name[strings.LastIndexByte(name, '~')+1:]
	before, _, ok := strings.Cut(plain, ".internal.")
	if !ok {
		return "", fmt.Errorf("target of %q: not a name inside the mesh", name)
	}
	labels := strings.Split(before, ".")
	n := len(labels)
	if n != 3 && n != 4 {
		return "", fmt.Errorf("target of %q: %d labels", name, n)
	}
	return strings.Join(labels[:n-1], ".") + ".default." + labels[n-1], nil
}

// spiffeTarget reads the target, but for its subset, from the SPIFFE ID of a
// service.
func spiffeTarget(id string) (string, error) {
	parts := strings.Split(strings.TrimPrefix(id, "spiffe://"), "/")
	if len(parts) != 7 || parts[1] != "ns" || parts[3] != "dc" || parts[5] != "svc" {
		return "", fmt.Errorf("target of %q: not the SPIFFE ID of a service", id)
	}
	return parts[6] + "." + parts[2] + ".default." + parts[4], nil
}
