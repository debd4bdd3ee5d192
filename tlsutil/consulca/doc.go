// Package consulca takes a service's certificate from Consul's own CA, through
// the agent on this machine: a [Source] that needs nothing but an agent and a
// token with service:write on the service.
//
// The agent makes the key, keeps it in memory and hands it out: whoever may speak
// to an agent's HTTP port may have the keys of the services it serves. It also
// renews, between 60 % and 90 % of a certificate's life, and at once after a
// change of roots; the source follows with blocking queries, trusts all roots
// that Consul lists, the old ones beside the new ones included, and says so in
// the log when the agent is late.
package consulca
