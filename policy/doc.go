// Package policy is the words of configuration: everything that a call to a
// service can be told, as plain data ([Service]), read from a document
// ([Decode]), checked as a whole ([Service.Validate]) and laid in layers
// ([Merge]) that remember who said what ([Effective.Origin]).
//
// A field that is left out says nothing: the layer below decides, and at the
// bottom lies [Default], which says everything. So a document holds only what
// differs:
//
//	{
//	  "timeout": {"total": "2s"},
//	  "retry": {"attempts": 2, "methods": ["/stock.v1.Stock/Get"]}
//	}
//
// or, in YAML,
//
//	timeout: {total: 2s}
//	retry: {attempts: 2, methods: [/stock.v1.Stock/Get]}
//
// Durations are strings with a unit. Where a thing can be switched off, a
// negative value does it; durations also say "off". Every field is listed in
// docs/policy.md, and docs/policy.schema.json is for editors.
//
// A [File] holds the policies of several services ([Documents]) and is followed
// while it changes.
//
// The package does nothing but read and compare: it starts no goroutine and
// keeps no state. Its values may be shared freely as long as nobody changes
// them.
package policy
