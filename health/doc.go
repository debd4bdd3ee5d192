// Package health tells whether a program lives and whether it is ready: it runs
// named checks, one at a time each, and says the result to Kubernetes (/livez and
// /readyz), to gRPC's health service and to the registry.
//
// A [Monitor] is not ready until it is told ([Monitor.Ready]) and every required
// check has passed. What fails and is not required makes a warning: the program
// stays in rotation, with less weight.
package health
