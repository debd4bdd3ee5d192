// Package idempotency makes effects safe to repeat. A caller gives an operation
// a key ([NewKey]) and keeps it over all tries; the callee carries the operation
// out once and answers every repeat with the first outcome.
//
// [Guard] is the callee's side: [Guard.Middleware] for net/http, and
// [Guard.Enter] for anything else that has requests and answers. What it
// remembers is in a [Store]: [Memory] for one process, package
// idempotency/bolt for one machine, the module idempotency/redis for many.
//
// What is promised, and what is not:
//
//   - While an outcome is kept, no second run of the operation begins.
//   - While an operation runs, repeats wait for it or are told that it runs.
//   - A process that dies with an operation begun leaves its outcome unknown.
//     When its lease has lapsed a repeat runs the operation again, or is refused,
//     as [Options.Lapsed] says. No store can do better: what must happen at most
//     once in a crash, too, has to record the key together with its effect.
//     [KeyFrom] tells the handler the key, [Derive] makes further ones of it for
//     calls that it makes itself.
//
// The header is that of the IETF draft "The Idempotency-Key HTTP Header Field"
// (draft-ietf-httpapi-idempotency-key-header).
package idempotency
