package policy

// Target is a set of instances that calls can go to.
type Target struct {
	// Service is the logical name.
	// Default: the service that was called. Example: "stock-next".
	Service string `json:"service,omitzero"`
	// Subset names one of the subsets that this policy defines. For subsets of
	// another service say filter instead.
	// Default: all instances. Example: "v2".
	Subset string `json:"subset,omitzero"`
	// Filter chooses instances by an expression in Consul's filter language.
	// Default: all instances. Example: "Service.Meta.version == v2".
	Filter string `json:"filter,omitzero"`
	// OnlyPassing leaves out instances in the warning state.
	// Default: false. Example: true.
	OnlyPassing bool `json:"onlyPassing,omitzero"`
	// Datacenter is where the instances are.
	// Default: our own. Example: "dc2".
	Datacenter string `json:"datacenter,omitzero"`
	// Namespace is a Consul Enterprise namespace.
	// Default: our own. Example: "shop".
	Namespace string `json:"namespace,omitzero"`
	// Partition is a Consul Enterprise partition.
	// Default: our own. Example: "retail".
	Partition string `json:"partition,omitzero"`
	// Peer is the name of a cluster peering.
	// Default: none. Example: "cluster-02".
	Peer string `json:"peer,omitzero"`
	// SNI is what the instances expect as TLS server name.
	// Default: the service. Example: "stock.default.dc2.internal.example.consul".
	SNI string `json:"sni,omitzero"`
	// Failover lists where calls go when too few instances here are healthy,
	// in order. Targets of the list have no failover of their own.
	// Default: none. Example: [{"datacenter": "dc2"}].
	Failover []Target `json:"failover,omitzero"`
	// Connect bounds making a connection, as timeout.connect does.
	// Default: timeout.connect. Example: "3s".
	Connect  Duration `json:"connect,omitzero"`
	Balancer Balancer `json:"balancer,omitzero"`
}

// Subset is a part of a service's instances that targets can name.
type Subset struct {
	// Filter chooses the instances, by an expression in Consul's filter
	// language over Service and Node.
	// Default: all. Example: "Service.Meta.version == v2".
	Filter string `json:"filter,omitzero"`
	// OnlyPassing leaves out instances in the warning state.
	// Default: false. Example: true.
	OnlyPassing bool `json:"onlyPassing,omitzero"`
}
