package parity

// Kinds of [PathMatch] and [ValueMatch].
const (
	Exact    = "exact"
	Prefix   = "prefix"
	Suffix   = "suffix"
	Contains = "contains"
	// Regex is RE2 and matches the whole value.
	Regex   = "regex"
	Present = "present"
)

// Match is what a request must be like; all of it.
type Match struct {
	Path PathMatch
	// Methods are those allowed. Empty: all.
	Methods []string     `json:",omitempty"`
	Headers []ValueMatch `json:",omitempty"`
	Query   []ValueMatch `json:",omitempty"`
}

// PathMatch is about the path without its query.
type PathMatch struct {
	// Kind is [Exact], [Prefix] or [Regex]. No condition at all is the prefix "/".
	Kind string
	// Value is compared byte by byte: the prefix "/a" covers "/ab".
	Value string
	// IgnoreCase has no effect on a regex.
	IgnoreCase bool `json:",omitempty"`
}

// ValueMatch is about one header or one parameter of the query.
type ValueMatch struct {
	// Name of a header is in lower case.
	Name string
	// Kind is one of the constants; parameters have only exact, regex and present.
	Kind       string
	Value      string `json:",omitempty"`
	IgnoreCase bool   `json:",omitempty"`
	// Invert negates. A header that is not there still does not match, unless the
	// kind is [Present].
	Invert bool `json:",omitempty"`
}
