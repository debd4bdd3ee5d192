// Package inbound is the path of a call coming in, over HTTP and gRPC alike: who
// calls is found out, its time is set, it is let in or shed, it is authorized, and
// when it has been served its end is told.
//
// The room in reading order: an [Arrival] is a call with its facts, as an adapter
// states them. [Server.Enter] is the path, [Server.Leave] its end. What is no
// concern of this room is plugged in: an [Identifier] says who calls, an
// [Authorizer] whether it may, an [Auditor] hears of every end. Those that are nil
// are left out. A call that is turned away ends with a [*RefusedError], which says
// what its caller is told.
//
// How much is let in says the inbound part of the service's own policy:
// [Server.Apply] puts it in force while calls are served. What is the least
// important is shed first.
package inbound
