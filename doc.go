// Package innermesh is a service mesh without the sidecar: a library that a Go
// service imports to find, balance, guard, secure and measure its calls, steered
// by Consul. This package holds no code; begin with package mesh.
//
// The rooms in reading order:
//
//   - mesh is the front door: New, HTTPClient, GRPCClient, Register, Close.
//   - call has the words all rooms share: the facts of a call, how it ended, its
//     one error, and what a caller may say about a single call.
//   - policy is what a call can be told, as plain data: decoded, merged, checked.
//   - discovery says where services run; discovery/consul asks Consul.
//   - balancer, breaker and retry choose an instance, guard it, and decide about
//     another attempt. Each is usable on its own.
//   - tlsutil secures connections by SPIFFE identities.
//
// The path of a call is in internal/outbound; docs/architecture.md has the plan.
package innermesh
