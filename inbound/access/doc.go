// Package access says whether a caller may do what it asks, by what Consul has
// written about this program's service: intentions, providers of JSON web
// tokens, and the default policy.
//
// An [Access] follows all three and decides in memory. It fails closed: as long
// as nothing is known, neither from Consul nor from a copy on disk, everybody is
// refused. What is known stays in force while Consul can not be asked.
//
// [Connections] closes those of callers that may not connect at all any more.
package access
