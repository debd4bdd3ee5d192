// Package outbound is the path of a call going out, the same for every
// protocol: a call is given its time and tried (pick, guard, send, judge) until
// it is answered or given up; whatever was taken is given back when it ends.
//
// An adapter translates a protocol with an [Exchange]: it describes the call in
// a [Flight], sends one attempt, and says how it went.
package outbound
