// Package consulsign takes a service's certificate from Consul's own CA, signed
// for a key that is made here and never leaves the process.
//
// It speaks gRPC to Consul's servers (ports grpc and grpc_tls; agents in client
// mode have none): one stream tells the roots, and one call signs a request. The
// token needs service:write on the service. Nothing of it is deprecated, unlike
// the agent's certificates (package consulca), for which no key has to be made but
// which everybody can have who may speak to the agent.
//
// The package is a module of its own, for who wants it: Consul's messages and
// grpc-go come with it.
package consulsign
