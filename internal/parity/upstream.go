package parity

// Upstream is all that the sidecar of one caller does with calls to one service.
type Upstream struct {
	// Service is the name that the caller asks for.
	Service string
	// Protocol is "tcp", "http", "http2" or "grpc": how the sidecar reads what its
	// caller sends.
	Protocol string
	// Routes are tried in order, the first match wins. Nil for tcp.
	Routes []Route `json:",omitempty"`
	// TCP is the cluster that gets the connections of a tcp service, else "".
	TCP string `json:",omitempty"`
	// Clusters are all that routes and TCP lead to. The key is the cluster's first
	// target, written as a discovery chain writes the ID of a target:
	// "[subset.]service.namespace.partition.datacenter".
	Clusters map[string]Cluster
	// Defects are where Consul serves something else than it documents.
	Defects []Defect `json:",omitempty"`
}

// Route is what happens to the requests that match.
type Route struct {
	Match Match
	// Request and Response are applied after those of the leg.
	Request  HeaderMods `json:",omitzero"`
	Response HeaderMods `json:",omitzero"`
	// Rewrite replaces what the path or prefix of the match covers, before the
	// instance sees it; the query stays. "/" leaves just one slash in its place.
	// Empty: the path stays.
	Rewrite string `json:",omitempty"`
	// Timeout is for the whole call with all its retries, until the response has
	// ended. Envoy's default is 15 s.
	Timeout Duration
	// IdleTimeout is how long nothing may be heard of either side. Envoy's default
	// is 5 min.
	IdleTimeout Duration
	Retry       *Retry `json:",omitempty"`
	// Hash makes the key for balancers that hash. Empty: such a balancer picks at
	// random.
	Hash []Hash `json:",omitempty"`
	// Legs share the requests by weight; always at least one.
	Legs []Leg
}

// Leg is one way of a split.
type Leg struct {
	// Target is the key of the cluster.
	Target string
	// Weight is a share of the sum of all weights, which is 10000 but for what
	// Consul loses in rounding. 0 is never chosen. The only leg has 10000.
	Weight   uint32
	Request  HeaderMods `json:",omitzero"`
	Response HeaderMods `json:",omitzero"`
}

// Retry says when a call is tried again.
type Retry struct {
	// On has the conditions by Envoy's names, sorted. Empty: never, whatever Num
	// says.
	On []string
	// Num is how often at most, the first try not counted. Envoy's default is 1.
	Num uint32
	// Statuses are those meant by the condition "retriable-status-codes", sorted.
	Statuses []uint32 `json:",omitempty"`
	// PerTry bounds one try. 0 is none.
	PerTry Duration
	// NextLevel says that a retry goes to another level of the failover.
	NextLevel bool `json:",omitempty"`
}

// Hash is one part of the key that a hashing balancer uses.
type Hash struct {
	// By is "header", "cookie", "query_parameter" or "source_ip".
	By string
	// Name is that of the header, cookie or parameter.
	Name string `json:",omitempty"`
	// Terminal ends the list if there is a key by then.
	Terminal bool `json:",omitempty"`
	// Generate makes a cookie that the caller does not have, with this TTL (0: for
	// the session) and path.
	Generate bool     `json:",omitempty"`
	TTL      Duration `json:",omitzero"`
	Path     string   `json:",omitempty"`
}
