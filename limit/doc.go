// Package limit says how much is too much, and refuses the rest at once, the
// least important first. A [Bulkhead] bounds what is under way, a [Rate] how much
// begins in a second, [Adaptive] finds out by itself what the other side can
// carry; [Bulkheads] and [Rates] do the same for each key (a tenant, a user) in
// bounded memory.
//
// All have one shape: Enter admits a call and returns a [Leave], or says why not.
// A Leave must be told exactly once how the call ended. Refusals are errors that
// match a sentinel, [ErrFull], [ErrRate] or [ErrOverloaded], and carry what the
// caller needs to know.
//
// Nothing here starts a goroutine or keeps a lock while it waits.
package limit
