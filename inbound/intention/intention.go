package intention

import (
	"fmt"
	"strings"
)

// Action is what a rule says. The zero action is to deny.
type Action uint8

// The two actions.
const (
	Deny Action = iota
	Allow
)

// String returns Consul's word for the action.
func (a Action) String() string {
	if a == Allow {
		return "allow"
	}
	return "deny"
}

// Intention is what Consul says of one source's calls to one destination. Names
// may be "*". Do not change one that rules were made of.
type Intention struct {
	SourcePartition, SourceNS, SourceName string
	// SourcePeer is the cluster peering that the source is behind.
	SourcePeer string
	// SourceSamenessGroup is Consul Enterprise's, and not supported.
	SourceSamenessGroup string
	// SourceType is "consul".
	SourceType string

	DestinationPartition, DestinationNS, DestinationName string

	// Action is "allow" or "deny", or "" if there are permissions.
	Action      string
	Permissions []Permission
	// JWT is what tokens must show, beside all else.
	JWT *JWT
	// Precedence is Consul's number for how specific the names are, 1 to 9.
	Precedence  int
	Description string
	Meta        map[string]string

	// odd is what was said and not understood.
	odd error
}

// Permission is what a source may do, or not.
type Permission struct {
	// Action is "allow" or "deny".
	Action string
	HTTP   *HTTP
	// JWT is what tokens must show for the permission to count.
	JWT *JWT
}

// HTTP says which requests a permission is about: those that fit all that is
// said. gRPC's are POST to "/<package>.<service>/<method>".
type HTTP struct {
	// One of these at most. A regular expression is for the whole path.
	PathExact, PathPrefix, PathRegex string
	Header                           []Header
	// Methods are any of these; empty: all.
	Methods []string
}

// Header says which values of a header fit.
type Header struct {
	Name string
	// One of these.
	Present                                bool
	Exact, Prefix, Suffix, Contains, Regex string
	// Invert turns the answer round. A header that is not there fits the
	// inversion of Present, and of nothing else, as in sidecars.
	Invert bool
	// IgnoreCase is for all but Present and Regex, and for ASCII letters.
	IgnoreCase bool
}

// String names source, destination and precedence, as Consul does.
func (i *Intention) String() string {
	source := tenant(i.SourcePartition, i.SourceNS, i.SourceName)
	if i.SourcePeer != "" {
		source = "peer " + i.SourcePeer + ": " + source
	}
	return fmt.Sprintf("%s => %s (precedence %d)", source,
		tenant(i.DestinationPartition, i.DestinationNS, i.DestinationName), i.precedence())
}

// precedence is Consul's number: how specific the destination is counts first,
// then how specific the source is. 9 is all exact, 1 is all "*".
func (i *Intention) precedence() int {
	return 3*specific(i.DestinationNS, i.DestinationName) + specific(i.SourceNS, i.SourceName) + 1
}

const (
	anyone        = "*"
	defaultTenant = "default"
)

func specific(namespace, name string) int {
	switch {
	case name != anyone:
		return 2
	case namespace != anyone:
		return 1
	default:
		return 0
	}
}

func tenant(parts ...string) string {
	var said []string
	for _, p := range parts {
		if p != "" {
			said = append(said, p)
		}
	}
	return strings.Join(said, "/")
}
