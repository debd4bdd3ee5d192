// Package balancer chooses one of several instances. A [Member] holds the live
// counters of an instance and outlives every update of the list; a [Picker] is
// built anew for each list and keeps nothing worth keeping. A [Pool] is a list
// with its picker that follows small changes for a small price.
//
// Around the pick stand pure functions: [Subset] says which instances of a large
// service one client should know, [Tiering] how much goes to instances near by and
// far away.
//
// Picks take no lock and allocate nothing.
package balancer
