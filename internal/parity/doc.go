// Package parity says, as plain data, what an Envoy sidecar would do with calls
// to a service, so that what innermesh does can be compared with it.
//
// An [Oracle] registers a caller with a sidecar proxy at a running Consul, opens
// the delta stream that Envoy would open, and reduces listeners, routes,
// clusters and endpoints to an [Upstream]. Envoy's own defaults are filled in,
// because Consul leaves most of them unsaid. A field that the reduction does not
// know is an error: what it leaves out, nobody would compare.
//
// [Upstream.Evaluate] routes a request as Envoy does. [Scenarios] is the table of
// config entries on which both are tried; [Upstream.Documented] is what Consul
// promises where 1.22.3 serves something else.
//
// A [Comparison] holds a [Subject] against it: the plan, what becomes of requests,
// where calls go when they are drawn, and what instances and callers see when they
// are sent. The subject of the tests is innermesh, put together as package mesh
// does it.
//
// `make conformance` plays them all and prints how they went; with
// PARITY_DUMP=dir the test writes there what the oracle says about each.
//
// The module is nested because of the types of Envoy: nobody who imports the
// library should download them.
package parity
