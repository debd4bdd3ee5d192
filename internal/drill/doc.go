// Package drill proves promises of the whole house under load: its tests start
// backends as processes of their own, call them through one mesh at a steady rate
// over HTTP and gRPC, and meanwhile let instances come and go, move the calls from
// one version to another, let certificates and their issuers change, and let Consul
// restart, stay away or lose its leader, and an instance vanish from the network. No
// call may fail.
//
// It has tests only. A backend, or a client that starts anew, is this test's own
// binary.
package drill
