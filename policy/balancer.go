package policy

// The values of [Balancer].Policy.
const (
	P2C        = "p2c"
	RoundRobin = "round_robin"
)

// Balancer says how an instance is chosen for each attempt. An instance that
// this call has tried before is left out as long as there is another.
type Balancer struct {
	// Policy is the algorithm: "p2c" draws two instances at random and takes
	// the one with fewer calls in flight, "round_robin" takes them in turn.
	// Default: p2c. Example: "round_robin".
	Policy string `json:"policy,omitzero"`
}

func (b Balancer) check(c *checker) {
	c.oneOf("balancer.policy", b.Policy, P2C, RoundRobin)
}
