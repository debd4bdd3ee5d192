package mesh

// ConsulOptions say how Consul is reached. Every zero field is what Consul's own
// tools take: the standard CONSUL_* variables, else their defaults.
type ConsulOptions struct {
	// Address is that of the local agent, as "host:port" or a URL.
	Address string
	// Token is the ACL token. It is never logged.
	Token string
	// TokenFile holds the token and is read again when it changes.
	TokenFile string
	// Datacenter to ask about. Default: the agent's own.
	Datacenter string
	// KVPrefix is under which policy documents lie in Consul's KV store:
	// "<prefix>/defaults" and "<prefix>/services/<name>". Default: "innermesh".
	KVPrefix string
}
