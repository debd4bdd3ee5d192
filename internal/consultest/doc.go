// Package consultest runs a real Consul for tests and demonstrations.
//
// [Launch] starts an agent on free ports of the loopback and is all that a
// program needs. Tests use [Start] for an agent of their own (with its own
// configuration, to be killed and restarted) or, cheaper, [Shared]: one agent
// for all tests of a package, kept apart by unique names ([Name]). [StartCluster]
// is for tests that need servers which elect a leader, and lose it.
//
// The server is built once by `make consul` from the nested module
// tools/consul, which pins its version, into the user's cache; CONSUL_BIN names
// another binary. Tests are skipped, with a line that says so, as long as there
// is none; with INNERMESH_REQUIRE_CONSUL=1 they fail instead.
//
// The package does not import testing, so that programs may use it: [TB] is
// what it needs of a *testing.T.
package consultest
