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
// standard CONSUL_* variables, or from any [discovery.Source].
//
// How a call is treated, and where its routes lead, is a [policy.Service] made of
// layers: what is built in, Options.Defaults, Consul's config entries, documents
// beside them and in Consul's KV store, Options.PolicyFile, Options.Pinned. All
// but what the program says is followed, and a change is in force within a second.
// [Mesh.Explain] tells what would become of a request, and who said so.
//
// A call that gets no answer ends with a [*call.Error], over HTTP and gRPC alike.
package mesh
