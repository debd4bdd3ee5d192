package consul

import "fmt"

// The compiled discovery chain as /v1/discovery-chain answers it. The typed
// client lacks the splits' own definitions, the resolvers' RequestTimeout and the
// targets' Peer and Partition. Fields have Consul's names.

type chainAnswer struct {
	Chain *chain
}

type chain struct {
	ServiceName string
	Datacenter  string
	Protocol    string
	// Default: nothing was said about the service's routing.
	Default     bool
	ServiceMeta map[string]string // Meta of its service-defaults
	StartNode   string
	Nodes       map[string]*node
	Targets     map[string]*target

	Namespace         ignored // of the asker; those of the targets count
	Partition         ignored // as Namespace
	CustomizationHash ignored // tells chains with overrides apart; here the question does
	EnvoyExtensions   ignored // fragments of Envoy's own configuration
	AutoVirtualIPs    ignored // for transparent proxies; services are called by name here
	ManualVirtualIPs  ignored // as AutoVirtualIPs
}

// The values of node.Type.
const (
	router   = "router"
	splitter = "splitter"
	resolver = "resolver"
)

type node struct {
	Type         string
	Routes       []*route
	Splits       []*split
	Resolver     *resolution
	LoadBalancer *loadBalancer

	Name ignored // the key says it too
}

type route struct {
	Definition *routeDefinition
	NextNode   string
}

type routeDefinition struct {
	Match       *routeMatch
	Destination *destination
}

type routeMatch struct {
	HTTP *httpMatch
}

type httpMatch struct {
	PathExact, PathPrefix, PathRegex string
	CaseInsensitive                  bool
	Header                           []headerMatch
	QueryParam                       []queryMatch
	Methods                          []string
}

type headerMatch struct {
	Name                                   string
	Present                                bool
	Exact, Prefix, Suffix, Contains, Regex string
	Invert, IgnoreCase                     bool
}

type queryMatch struct {
	Name         string
	Present      bool
	Exact, Regex string
}

type destination struct {
	PrefixRewrite               string
	RequestTimeout, IdleTimeout duration
	NumRetries                  uint32
	RetryOnConnectFailure       bool
	RetryOn                     []string
	RetryOnStatusCodes          []uint32
	RequestHeaders              *headers
	ResponseHeaders             *headers

	Service       ignored // NextNode is what Consul made of it
	ServiceSubset ignored // as Service
	Namespace     ignored // as Service
	Partition     ignored // as Service
}

type headers struct {
	Add, Set map[string]string
	Remove   []string
}

type split struct {
	Definition *splitDefinition
	Weight     float64 // in percent; nested splitters are multiplied out
	NextNode   string
}

type splitDefinition struct {
	RequestHeaders  *headers
	ResponseHeaders *headers

	Weight        ignored // before nested splitters were multiplied out
	Service       ignored // NextNode is what Consul made of it
	ServiceSubset ignored // as Service
	Namespace     ignored // as Service
	Partition     ignored // as Service
}

type resolution struct {
	ConnectTimeout duration
	RequestTimeout duration
	Target         string
	Failover       *failover

	Default ignored // Chain.Default says it for the only chain where it counts
}

type failover struct {
	Targets []string
	Policy  *failoverPolicy
}

type failoverPolicy struct {
	Mode string
}

type loadBalancer struct {
	Policy             string
	RingHashConfig     *ringHash
	LeastRequestConfig *leastRequest
	HashPolicies       []hashPolicy
}

type ringHash struct {
	MinimumRingSize, MaximumRingSize uint64
}

type leastRequest struct {
	ChoiceCount uint32
}

type hashPolicy struct {
	Field, FieldValue string
	CookieConfig      *cookie
	SourceIP          bool
	Terminal          bool
}

type cookie struct {
	Session bool
	TTL     duration
	Path    string
}

type target struct {
	Service, ServiceSubset string
	Namespace, Partition   string
	Datacenter, Peer       string
	MeshGateway            meshGateway
	Subset                 subset
	External               bool // the name for TLS was given by hand
	SNI                    string

	ID               ignored // the key says it too
	Name             ignored // of an Envoy cluster
	ConnectTimeout   ignored // the resolver's counts
	TransparentProxy ignored // addresses dialled by hand; services are called by name here
}

type meshGateway struct {
	Mode string `json:"Mode"`
}

type subset struct {
	Filter      string
	OnlyPassing bool
}

func decodeChain(body []byte) (*chain, error) {
	var answer chainAnswer
	if err := decode(body, &answer, ""); err != nil {
		return nil, err
	}
	if answer.Chain == nil {
		return nil, fmt.Errorf("the field Chain %w", errMissing)
	}
	return answer.Chain, nil
}
