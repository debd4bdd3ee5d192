package policy

// Match says which calls a route is for. All that it says must fit.
type Match struct {
	// Path is the whole path, without the query. At most one of path,
	// pathPrefix and pathRegex may be said.
	// Default: any. Example: "/orders".
	Path string `json:"path,omitzero"`
	// PathPrefix is how the path begins, byte by byte: "/admin" fits
	// "/administrator" too.
	// Default: any. Example: "/orders/".
	PathPrefix string `json:"pathPrefix,omitzero"`
	// PathRegex is an RE2 expression that the whole path must fit.
	// Default: any. Example: "/orders/[0-9]+".
	PathRegex string `json:"pathRegex,omitzero"`
	// IgnoreCase compares path and pathPrefix without regard to case; a
	// regular expression says "(?i)" itself.
	// Default: false. Example: true.
	IgnoreCase bool `json:"ignoreCase,omitzero"`
	// Methods lists the HTTP methods that fit, in upper case. gRPC calls are
	// all POST.
	// Default: any. Example: ["GET", "HEAD"].
	Methods []string `json:"methods,omitzero"`
	// Headers must all fit; over gRPC they are the call's metadata.
	// Default: any. Example: [{"name": "x-tenant", "exact": "acme"}].
	Headers []HeaderMatch `json:"headers,omitzero"`
	// Query parameters must all fit. The first of its name counts.
	// Default: any. Example: [{"name": "debug", "present": true}].
	Query []QueryMatch `json:"query,omitzero"`
}

// HeaderMatch looks at one header. Several values of a header are joined with
// commas first. Exactly one of exact, prefix, suffix, contains, regex and
// present must be said.
type HeaderMatch struct {
	// Name is the header's, without regard to case. Required.
	// Default: none. Example: "x-tenant".
	Name string `json:"name,omitzero"`
	// Exact is the whole value.
	// Default: none. Example: "acme".
	Exact string `json:"exact,omitzero"`
	// Prefix is how the value begins.
	// Default: none. Example: "ac".
	Prefix string `json:"prefix,omitzero"`
	// Suffix is how the value ends.
	// Default: none. Example: "me".
	Suffix string `json:"suffix,omitzero"`
	// Contains is a part of the value.
	// Default: none. Example: "cm".
	Contains string `json:"contains,omitzero"`
	// Regex is an RE2 expression that the whole value must fit.
	// Default: none. Example: "acme|initech".
	Regex string `json:"regex,omitzero"`
	// Present is true if the header must be there, whatever its value.
	// Default: false. Example: true.
	Present bool `json:"present,omitzero"`
	// IgnoreCase compares the value without regard to case; a regular
	// expression says "(?i)" itself.
	// Default: false. Example: true.
	IgnoreCase bool `json:"ignoreCase,omitzero"`
	// Invert turns the answer round. A header that is not there fits inverted
	// only together with present.
	// Default: false. Example: true.
	Invert bool `json:"invert,omitzero"`
}

// QueryMatch looks at one query parameter. Exactly one of exact, regex and
// present must be said.
type QueryMatch struct {
	// Name is the parameter's. Required.
	// Default: none. Example: "debug".
	Name string `json:"name,omitzero"`
	// Exact is the whole value.
	// Default: none. Example: "1".
	Exact string `json:"exact,omitzero"`
	// Regex is an RE2 expression that the whole value must fit.
	// Default: none. Example: "[0-9]+".
	Regex string `json:"regex,omitzero"`
	// Present is true if the parameter must be there, whatever its value.
	// Default: false. Example: true.
	Present bool `json:"present,omitzero"`
}
