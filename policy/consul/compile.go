package consul

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/innermesh/innermesh/policy"
)

var errMissing = errors.New("is missing: this is not a compiled discovery chain")

// compile makes a policy of a chain. connectSaid: somebody has given the connect
// timeout, so that it counts even if it is Consul's default.
func compile(c *chain, connectSaid bool) (policy.Service, error) {
	k := compiler{chain: c, connectSaid: connectSaid}
	s := k.service()
	if err := k.faults.err(); err != nil {
		return policy.Service{}, err
	}
	if err := s.Validate(); err != nil {
		return policy.Service{}, fmt.Errorf("as a policy: %w", err)
	}
	return s, nil
}

// compiler holds a chain and what was found wrong with it.
type compiler struct {
	faults
	chain       *chain
	connectSaid bool
}

// wholeName is the name of a route that all calls fit.
const wholeName = "all"

func (k *compiler) service() policy.Service {
	s := policy.Service{HTTP: policy.HTTP{Protocol: k.protocol()}}
	start := k.chain.StartNode
	n := k.node(start, "StartNode")
	if n == nil {
		return s
	}
	path := nodePath(start)
	switch n.Type {
	case router:
		s.Routes = k.routes(n, path)
	case splitter:
		s.Routes = []policy.Route{{Name: wholeName, To: k.legs(start, "StartNode")}}
	case resolver:
		legs := k.legs(start, "StartNode")
		if k.plain(n) {
			return s
		}
		r := policy.Route{Name: wholeName, To: legs}
		if d := n.Resolver.RequestTimeout; d != 0 && s.HTTP.Protocol != "" { // of TCP no sidecar sees the requests
			r.Timeout = total(d)
		}
		s.Routes = []policy.Route{r}
	}
	return s
}

// plain: nothing was said about the routing, and nothing need be.
func (k *compiler) plain(n *node) bool {
	if !k.chain.Default || n.Resolver == nil {
		return false
	}
	t := k.chain.Targets[n.Resolver.Target]
	return t != nil && !t.External
}

func (k *compiler) protocol() string {
	switch p := strings.ToLower(k.chain.Protocol); p {
	case "", "tcp":
		return ""
	case "http":
		return policy.HTTP1
	case "http2", "grpc":
		return policy.HTTP2
	default:
		k.unsupportedf("Chain.Protocol", "%s is not tcp, http, http2 or grpc", quote(k.chain.Protocol))
		return ""
	}
}

// node finds a node that has what its type needs. path is where it is named.
func (k *compiler) node(key, path string) *node {
	n := k.chain.Nodes[key]
	if n == nil {
		k.addf(path, "there is no node %s", quote(key))
		return nil
	}
	switch n.Type {
	case router:
		if len(n.Routes) == 0 {
			k.addf(nodePath(key)+".Routes", "there is none")
			return nil
		}
	case splitter:
		if len(n.Splits) == 0 {
			k.addf(nodePath(key)+".Splits", "there is none")
			return nil
		}
	case resolver:
		if n.Resolver == nil {
			k.addf(nodePath(key)+".Resolver", "is missing")
			return nil
		}
	default:
		k.unsupportedf(nodePath(key)+".Type", "%s is not router, splitter or resolver", quote(n.Type))
		return nil
	}
	return n
}

// legs are the shares of a splitter, or the one of a resolver. Consul puts
// routers before splitters before resolvers, each once; what is not so ordered
// is refused, which leaves no room for loops.
func (k *compiler) legs(key, path string) []policy.Leg {
	n := k.node(key, path)
	switch {
	case n == nil:
		return nil
	case n.Type == resolver:
		t := k.resolve(key, n, n.LoadBalancer)
		return []policy.Leg{{Target: t}}
	case n.Type != splitter:
		k.addf(path, "leads to %s, a %s: want a splitter or a resolver", quote(key), n.Type)
		return nil
	}
	path = nodePath(key)
	hash := k.splitHash(n)
	var legs []policy.Leg
	sum := 0
	for i, s := range n.Splits {
		at := element(path+".Splits", i)
		if s == nil {
			k.addf(at, "is null")
			continue
		}
		leg := policy.Leg{Weight: k.weight(s.Weight, at+".Weight")}
		sum += leg.Hundredths()
		next := k.node(s.NextNode, at+".NextNode")
		switch {
		case next == nil:
		case next.Type != resolver:
			k.addf(at+".NextNode", "leads to %s, a %s: want a resolver", quote(s.NextNode), next.Type)
		default:
			leg.Target = k.resolve(s.NextNode, next, hash)
		}
		if d := s.Definition; d != nil {
			leg.RequestHeaders, leg.ResponseHeaders = d.RequestHeaders.policy(), d.ResponseHeaders.policy()
		}
		legs = append(legs, leg)
	}
	// Nested splitters are multiplied out and rounded: a hundredth a leg at most.
	if off := sum - 100_00; max(off, -off) > len(legs) {
		k.addf(path+".Splits", "weights add up to %v: want 100", float64(sum)/100)
	}
	return legs
}

// weight is a share as legs have it, in percent down to hundredths.
func (k *compiler) weight(w float64, path string) float64 {
	if !(w >= 0 && w <= 100) {
		k.addf(path, "%v is out of range: want 0 to 100", w)
		return -1
	}
	hundredths := math.Round(w * 100)
	if hundredths == 0 {
		return -1 // it stays in sight, and is never chosen
	}
	return hundredths / 100
}

// splitHash returns what says how to hash for all legs: as in a sidecar that is
// a matter of the route, for which Consul takes the first leg that hashes.
func (k *compiler) splitHash(n *node) *loadBalancer {
	if n.LoadBalancer != nil {
		return n.LoadBalancer
	}
	for _, s := range n.Splits {
		if s == nil || k.chain.Nodes[s.NextNode] == nil {
			continue
		}
		if lb := k.chain.Nodes[s.NextNode].LoadBalancer; lb.hashes() {
			return lb
		}
	}
	return nil
}

// headers of nil change nothing.
func (h *headers) policy() policy.Headers {
	if h == nil {
		return policy.Headers{}
	}
	return policy.Headers{Remove: slices.Clone(h.Remove), Set: h.Set, Add: h.Add}
}

// total bounds a whole call and leaves each try all of that time, as Envoy does
// when it is given no more than the one time.
func total(d duration) policy.Timeout {
	return policy.Timeout{Total: limited(d), PerTry: policy.Off}
}

// limited is a time that Consul switches off with any negative one.
func limited(d duration) policy.Duration { return max(policy.Duration(d), policy.Off) }

func nodePath(key string) string { return at("Chain.Nodes", key) }
