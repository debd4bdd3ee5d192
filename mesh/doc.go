// Package mesh is the front door of innermesh: it makes plain HTTP clients and
// gRPC connections that find their peers, balance over them, retry, break,
// speak mTLS and trace, without a sidecar.
//
//	m, err := mesh.New(ctx, mesh.Options{Service: "checkout"})
//	defer m.Close(ctx)
//	client := m.HTTPClient()               // http://inventory/items/42
//	conn, err := m.GRPCClient("payments")  // any generated stub works on it
//
// Names of services are logical; instances come from Consul, found by the
// standard CONSUL_* variables, or from any [discovery.Source]. How a call is
// treated is a [policy.Service]: built in, set in [Options], or written to
// Consul's KV store, where it is watched and takes effect within a second.
//
// A call that gets no answer ends with a [*call.Error], over HTTP and gRPC alike.
package mesh
