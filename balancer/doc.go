// Package balancer chooses one of several instances. A [Member] holds the live
// counters of an instance and outlives every update of the list; a [Picker] is
// built anew for each list and keeps nothing worth keeping.
//
// Picks take no lock and allocate nothing.
package balancer
