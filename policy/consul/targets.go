package consul

import (
	"slices"
	"time"

	"github.com/innermesh/innermesh/policy"
)

// consulConnect is the connect timeout of a chain that nobody has told one. Who
// writes just that can not be told apart, and is served by the layers below.
const consulConnect = duration(5 * time.Second)

// resolve makes the target of a resolver, with its failover. hash says how to
// hash, which may be another's affair than how to balance.
func (k *compiler) resolve(key string, n *node, hash *loadBalancer) policy.Target {
	path := nodePath(key) + ".Resolver"
	r := n.Resolver
	t := k.target(r.Target, path+".Target")
	t.Balancer = k.balancer(n.LoadBalancer, hash, nodePath(key)+".LoadBalancer")
	switch {
	case r.ConnectTimeout < 0:
		k.addf(path+".ConnectTimeout", "%v is negative: want more than 0", time.Duration(r.ConnectTimeout))
	case k.connectSaid || r.ConnectTimeout != consulConnect:
		t.Connect = policy.Duration(r.ConnectTimeout)
	}
	if r.Failover == nil {
		return t
	}
	if p := r.Failover.Policy; p != nil && p.Mode != "" && p.Mode != "sequential" {
		k.unsupportedf(path+".Failover.Policy.Mode", "%s is not sequential", quote(p.Mode))
	}
	for i, id := range r.Failover.Targets {
		next := k.target(id, element(path+".Failover.Targets", i))
		// Connections and balancing are as for the first target.
		next.Connect, next.Balancer = t.Connect, t.Balancer
		t.Failover = append(t.Failover, next)
	}
	return t
}

func (k *compiler) target(id, path string) policy.Target {
	t := k.chain.Targets[id]
	if t == nil {
		k.addf(path, "there is no target %s", quote(id))
		return policy.Target{}
	}
	k.reachable(t, at("Chain.Targets", id))
	out := policy.Target{
		Service: t.Service, Filter: t.Subset.Filter, OnlyPassing: t.Subset.OnlyPassing, SNI: t.SNI,
	}
	if out.Filter != "" || out.OnlyPassing {
		out.Subset = t.ServiceSubset // its name, to be shown; one without conditions is all instances
	}
	if t.Datacenter != k.chain.Datacenter {
		out.Datacenter = t.Datacenter
	}
	return out
}

// reachable refuses what can not be called from here.
func (k *compiler) reachable(t *target, path string) {
	if t.Service == "" {
		k.addf(path+".Service", "is missing")
	}
	if t.Peer != "" {
		k.unsupportedf(path+".Peer", "%s is a cluster peering, whose trust bundle Consul does not publish", quote(t.Peer))
		return // the rest says nothing about a peer
	}
	for _, place := range []struct{ field, value string }{{"Namespace", t.Namespace}, {"Partition", t.Partition}} {
		if place.value != "" && place.value != "default" {
			k.unsupportedf(path+"."+place.field, "%s is of Consul Enterprise", quote(place.value))
		}
	}
	switch t.MeshGateway.Mode {
	case "", "none":
	case "local", "remote":
		if t.Datacenter != k.chain.Datacenter {
			k.unsupportedf(path+".MeshGateway.Mode", "%s: calls to datacenter %s would have to go through mesh gateways; mode none calls directly",
				quote(t.MeshGateway.Mode), quote(t.Datacenter))
		}
	default:
		k.unsupportedf(path+".MeshGateway.Mode", "%s is not none, local or remote", quote(t.MeshGateway.Mode))
	}
}

// hashes says whether the balancer needs a hash.
func (lb *loadBalancer) hashes() bool {
	return lb != nil && (lb.Policy == policy.RingHash || lb.Policy == policy.Maglev)
}

// balancer makes the settings of a resolver's block. Numbers that it leaves out
// are Envoy's defaults, because it is Envoy's algorithm that was asked for.
func (k *compiler) balancer(lb, hash *loadBalancer, path string) policy.Balancer {
	if lb == nil || lb.Policy == "" {
		return policy.Balancer{}
	}
	b := policy.Balancer{Policy: lb.Policy}
	switch lb.Policy {
	case policy.RoundRobin, policy.Random:
	case policy.LeastRequest:
		b.Choices = 2
		if c := lb.LeastRequestConfig; c != nil && c.ChoiceCount > 0 {
			b.Choices = int(c.ChoiceCount)
		}
	case policy.RingHash:
		b.RingSize, b.MaxRingSize = 1024, maxRing
		if c := lb.RingHashConfig; c != nil && c.MinimumRingSize > 0 {
			b.RingSize = k.ring(c.MinimumRingSize, path+".RingHashConfig.MinimumRingSize")
		}
		if c := lb.RingHashConfig; c != nil && c.MaximumRingSize > 0 {
			b.MaxRingSize = k.ring(c.MaximumRingSize, path+".RingHashConfig.MaximumRingSize")
		}
		if b.RingSize > b.MaxRingSize {
			k.addf(path+".RingHashConfig", "MinimumRingSize %d (the default is 1024) is above MaximumRingSize %d", b.RingSize, b.MaxRingSize)
		}
	case policy.Maglev:
	default:
		k.unsupportedf(path+".Policy", "%s is not known here", quote(lb.Policy))
	}
	if lb.hashes() {
		b.Hash = k.hash(hash, path)
	}
	return b
}

const maxRing = 8 << 20 // Envoy's

func (k *compiler) ring(size uint64, path string) int {
	if size > maxRing {
		k.addf(path, "%d is too large: at most %d", size, maxRing)
		return maxRing
	}
	return int(size)
}

// hash lists what is hashed. An empty list is said, too: then a hashing balancer
// picks at random.
func (k *compiler) hash(lb *loadBalancer, path string) []policy.Hash {
	all := []policy.Hash{}
	if lb == nil {
		return all
	}
	for i, p := range lb.HashPolicies {
		at := element(path+".HashPolicies", i)
		h := policy.Hash{Source: p.SourceIP, Terminal: p.Terminal}
		switch p.Field {
		case "":
		case "header":
			h.Header = p.FieldValue
		case "query_parameter":
			h.Query = p.FieldValue
		case "cookie":
			h.Cookie = p.FieldValue
			h.CookieTTL, h.CookiePath = p.CookieConfig.generated()
		default:
			k.unsupportedf(at+".Field", "%s is not header, cookie or query_parameter", quote(p.Field))
		}
		all = append(all, h)
	}
	return slices.Clip(all)
}

// generated says for how long a cookie is made up, if one is at all.
func (c *cookie) generated() (ttl policy.Duration, path string) {
	switch {
	case c == nil:
		return 0, ""
	case c.Session:
		return policy.Off, c.Path
	case c.TTL > 0:
		return policy.Duration(c.TTL), c.Path
	default:
		return 0, ""
	}
}
