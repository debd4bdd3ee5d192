// Package route finds the way of a call: which route it matches, which leg of
// the route's split it takes, and how request and response are changed on it.
//
// A [Table] is compiled of one service's policy when that changes; matching is
// a pure function that allocates nothing. The package starts no goroutine.
package route
