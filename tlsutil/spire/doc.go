// Package spire takes the identity of this process from the SPIFFE Workload API: a
// socket on this machine, behind which SPIRE's agent or another implementation
// looks who calls and needs no token.
//
// The agent makes the key, hands it to this process and renews, usually at half of
// a certificate's life. The source follows its stream, trusts the bundles of all
// trust domains that it tells, those of federation included, and says so in the log
// when the agent is late.
//
// The package is a module of its own, for who wants it.
package spire
