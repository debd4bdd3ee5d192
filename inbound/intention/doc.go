// Package intention decides whether a caller may do what it asks, by the
// intentions that Consul has for a service: in memory, for each request, in well
// under a microsecond and without allocation.
//
// The room in reading order: an [Intention] is what Consul says of one source,
// [Decode] reads its answers. [Compile] makes [Rules] of them, a pure function
// from caller and [Request] to [Decision]. A [Judge] holds the rules in force and
// follows Consul.
//
// Rules are obeyed by documented precedence: the first intention whose source is
// the caller decides. If it has permissions, the first of them that fits does;
// if none fits, the default policy, and no other intention.
//
// Everything fails closed. Without rules everybody is refused, unless options say
// otherwise. A rule that asks for what is not supported, JSON web tokens above
// all, refuses those it is for. What can not be read does not replace what is in
// force.
//
// Where Consul's sidecars differ from this, the reason is in the comments:
// [Paths] above all, since a Go handler sees paths unescaped.
package intention
