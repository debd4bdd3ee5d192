// Package audit keeps a record of who was let in to do what, and by which rule.
//
// A [Log] takes a [Record] of each decision and hands it to a [slog.Handler] of
// its own, from one goroutine. Whoever records never waits: what the handler
// can not keep up with is dropped and counted, and of what was allowed only a
// share may be kept; what was refused is never left out by choice, and is the
// last to be dropped.
//
// Records have fixed fields. Headers, cookies, tokens, bodies and queries have
// no place in them.
package audit
