package policy

// Route is one way for calls to take. Of a service's routes the first whose
// match fits is taken; a call that none fits goes to the service itself.
//
// Timeout, retry, hedge, inject and mirror of a route are laid over those that the same layer says for
// the service: a layer above still wins.
type Route struct {
	// Name is how metrics, spans and explanations call the route. It must be
	// the only one of its name.
	// Default: the route's number. Example: "checkout".
	Name string `json:"name,omitzero"`
	// Match says which calls take the route. One that says nothing fits all.
	Match Match `json:"match,omitzero"`
	// To is where the calls go, in shares; 100 at most.
	// Default: the service itself. Example: [{"service": "stock-next"}].
	To      []Leg   `json:"to,omitzero"`
	Rewrite Rewrite `json:"rewrite,omitzero"`
	// Stick says what of a call decides which share it falls to.
	// Default: the service's. Example: [{"header": "x-user"}].
	Stick []Hash `json:"stick,omitzero"`
	// RequestHeaders changes what is sent, after the leg's own changes.
	RequestHeaders Headers `json:"requestHeaders,omitzero"`
	// ResponseHeaders changes what is received, after the leg's own changes.
	ResponseHeaders Headers `json:"responseHeaders,omitzero"`
	Timeout         Timeout `json:"timeout,omitzero"`
	Retry           Retry   `json:"retry,omitzero"`
	Hedge           Hedge   `json:"hedge,omitzero"`
	// Inject lists trouble that is made for calls that take the route.
	// Default: the service's. Example: [{"millionths": 1000, "delay": "2s", "until": "2026-11-25T18:00:00Z"}].
	Inject []Injection `json:"inject,omitzero"`
	// Mirror lists where copies of the calls that take the route are sent.
	// Default: the service's. Example: [{"service": "stock-next", "percent": 5}].
	Mirror []Mirror `json:"mirror,omitzero"`
}

// Leg is one share of a route's calls.
type Leg struct {
	// Weight is the share in percent, down to hundredths; 0.001 rounds to
	// nothing. The weights of all legs must add up to 100. A leg that is alone
	// needs none; -1 is a leg that gets nothing, kept for later.
	// Default: 100 for a single leg. Example: 12.5.
	Weight float64 `json:"weight,omitzero"`
	Target         //nolint:embeddedstructfieldcheck // the docs tell of the share first
	// RequestHeaders changes what is sent down this leg.
	RequestHeaders Headers `json:"requestHeaders,omitzero"`
	// ResponseHeaders changes what comes back from this leg.
	ResponseHeaders Headers `json:"responseHeaders,omitzero"`
}

// Rewrite says how the path of a request is changed. The query stays as it is.
// Of gRPC calls the path is the method, which is not rewritten.
type Rewrite struct {
	// Prefix takes the place of the part that match.path or match.pathPrefix
	// fitted; one of them is needed. "/" cuts that part off.
	// Default: no change. Example: "/v2/".
	Prefix string `json:"prefix,omitzero"`
}

// Headers says how headers are changed: first some are removed, then others
// set, then others added. Over gRPC they are metadata. Names are compared
// without regard to case.
type Headers struct {
	// Remove lists headers that are taken away.
	// Default: none. Example: ["x-debug"].
	Remove []string `json:"remove,omitzero"`
	// Set holds headers that replace all of their name. Values are literal.
	// Default: none. Example: {"x-canary": "yes"}.
	Set map[string]string `json:"set,omitzero"`
	// Add holds headers that are added to those of their name. Values are
	// literal.
	// Default: none. Example: {"x-via": "mesh"}.
	Add map[string]string `json:"add,omitzero"`
}

// IsZero says whether nothing is changed.
func (h Headers) IsZero() bool { return len(h.Remove) == 0 && len(h.Set) == 0 && len(h.Add) == 0 }
