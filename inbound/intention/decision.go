package intention

import "fmt"

// Request is what rules may look at.
type Request struct {
	// Method and Host are those of HTTP; of gRPC POST and the authority.
	Method, Host string
	// Path is as it goes over the wire: escaped, without the query. With an
	// *http.Request that is URL.EscapedPath().
	Path string
	// Literal says that the handler sees the path as it is, as gRPC's do.
	Literal bool
	// Header is an http.Header or gRPC's metadata.
	Header map[string][]string
	// Tokens looks at the JSON web tokens of the request, if a rule asks for one.
	// Nil: it has none.
	Tokens Tokens
}

// Reason says what a decision rests on.
type Reason string

// The reasons there are.
const (
	// ByIntention: the intention's own action.
	ByIntention Reason = "intention"
	// ByPermission: the first of the intention's permissions that fits.
	ByPermission Reason = "permission"
	// ByDefault: no intention is about the caller, or no permission of the one
	// that is fits.
	ByDefault Reason = "default policy"
	// NoRules: Consul has not been heard.
	NoRules Reason = "no rules are known"
	// Foreign: the caller is of another trust domain.
	Foreign Reason = "foreign trust domain"
	// BadPath: the intention looks at paths, and this one can be read in more
	// ways than one.
	BadPath Reason = "ambiguous path"
	// NeedsRequest: the intention has permissions, and this is a connection
	// without requests, as in sidecars of protocol tcp.
	NeedsRequest Reason = "permissions need requests"
	// NotSupported: the intention asks for something that can not be checked.
	NotSupported Reason = "not supported"
	// ByToken: the intention or permission, and a token that it asks for.
	ByToken Reason = "token"
	// NoToken: the request shows none of the JSON web tokens that it needs.
	NoToken Reason = "no token"
	// BadToken: it shows one that its provider does not vouch for.
	BadToken Reason = "bad token"
	// WrongClaims: it shows a good token that says something else.
	WrongClaims Reason = "claims of the token"
)

// Decision is the answer to one request or connection.
type Decision struct {
	// Allowed is what the rules say.
	Allowed bool
	// DryRun says that a refusal is only to be told.
	DryRun bool
	// Reason says what the decision rests on.
	Reason Reason
	// Intention is the one that decided, nil if none was about the caller.
	Intention *Intention
	// Permission is the number of the permission that decided, from 1 on; 0 if
	// none did.
	Permission int
	// Path is the path that rules saw, which the handler must see too.
	Path string
	// Provider vouched for the token that was needed, "" if none was.
	Provider string
	// Token says why there is no good token. It never holds one.
	Token error
}

// Admit says what to do.
func (d Decision) Admit() bool { return d.Allowed || d.DryRun }

// Unauthenticated says that a better token might be let in: HTTP's 401.
func (d Decision) Unauthenticated() bool {
	return !d.Allowed && (d.Reason == NoToken || d.Reason == BadToken)
}

// Rule names the intention that decided and the number of its permission, "" if
// there is none.
func (d Decision) Rule() string {
	switch {
	case d.Intention == nil:
		return ""
	case d.Permission == 0:
		return d.Intention.String()
	default:
		return fmt.Sprintf("%s, permission %d", d.Intention, d.Permission)
	}
}

// String tells the decision in one line. It holds neither path nor headers.
func (d Decision) String() string {
	text := Deny.String()
	if d.Allowed {
		text = Allow.String()
	}
	if text += ": " + string(d.Reason); d.Intention != nil {
		text += " of " + d.Rule()
	}
	if d.DryRun {
		text += " (dry run)"
	}
	return text
}
