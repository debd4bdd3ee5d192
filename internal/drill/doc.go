// Package drill proves promises of the whole house under load: its tests start
// backends as processes of their own, call them through one mesh at a steady rate
// over HTTP and gRPC, and let instances come and go and Consul restart meanwhile.
// No call may fail.
//
// It has tests only. A backend is this test's own binary, started anew.
package drill
