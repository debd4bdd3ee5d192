// Package consul speaks to a Consul agent: it is the only room that knows
// Consul's client library, its blocking queries, tokens and errors.
//
// [Client.Watch] is the one blocking-query loop for every endpoint. It hands out
// raw JSON, because the typed client drops fields that the mesh needs. Watches
// of one key share one query, however many want it; an error never replaces what
// was known. [Client.Get] and [Client.Put] are single requests.
package consul
