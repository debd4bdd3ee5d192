// Package consul is discovery by a Consul agent: a Source that watches the
// health of services, and a Registrar that keeps instances registered however
// often the agent forgets them.
package consul
