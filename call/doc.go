// Package call holds the words that every room of innermesh shares about one
// call: its facts ([Call]), how an attempt or the whole call ended ([Outcome],
// [Reason], [Sent]), the one error that leaves the library ([Error]) and what a
// caller may say about a single call ([With]).
//
// It imports nothing but the standard library and starts no goroutine.
package call
