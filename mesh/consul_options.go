package mesh

// ConsulOptions say how Consul is reached. Every zero field is what Consul's own
// tools take: the standard CONSUL_* variables, else their defaults.
type ConsulOptions struct {
	// Address is that of the local agent, or with Agentless of a server or what
	// stands before several, as "host:port" or a URL.
	Address string
	// Agentless is for programs beside which no agent runs: what is registered goes
	// to the servers' catalog, each port as a node of its own, "innermesh-<ID>", that
	// lives by a session. Nobody probes then, a [Registration].TTL is 20 s at least,
	// and the token needs node:write and session:write on "innermesh-". Default:
	// false, the agent at Address keeps it.
	Agentless bool
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
