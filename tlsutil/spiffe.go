package tlsutil

import (
	"fmt"
	"strings"
)

// The bounds of the SPIFFE-ID standard, section 2.3 (maximum length), and of
// the trust domain in section 2.1.
const (
	maxID     = 2048
	maxDomain = 255
	scheme    = "spiffe://"
)

// ID is a SPIFFE ID: a trust domain and a path within it. It is an immutable
// value, comparable with ==; equal IDs are equal byte for byte, upper and lower
// case differ. The zero ID names nobody.
//
// Source of the syntax: the SPIFFE-ID standard, section 2.
type ID struct {
	uri    string
	domain int // length of the trust domain in uri
}

// ParseID reads an ID of the form spiffe://<trust domain>[/<segment>...].
// It accepts what the standard allows and nothing else, so that two spellings
// of one name do not exist: lower-case scheme and trust domain, segments of
// letters, digits, '.', '-' and '_', no empty segment, no '.' or '..', no
// escapes, port, user, query or fragment. Errors wrap [ErrBadID].
func ParseID(s string) (ID, error) {
	if len(s) > maxID {
		return ID{}, badID(s, fmt.Sprintf("it is %d bytes long, %d are allowed", len(s), maxID))
	}
	rest, ok := strings.CutPrefix(s, scheme)
	if !ok {
		return ID{}, badID(s, "it must begin with spiffe://")
	}
	domain, path, hasPath := strings.Cut(rest, "/")
	if fault := domainFault(domain); fault != "" {
		return ID{}, badID(s, fault)
	}
	if hasPath {
		for segment := range strings.SplitSeq(path, "/") {
			if fault := segmentFault(segment); fault != "" {
				return ID{}, badID(s, fault)
			}
		}
	}
	return ID{uri: s, domain: len(domain)}, nil
}

// NewID makes an ID of a trust domain and path segments, which must not hold
// slashes. Errors wrap [ErrBadID].
func NewID(trustDomain string, segments ...string) (ID, error) {
	if fault := domainFault(trustDomain); fault != "" {
		return ID{}, badID(trustDomain, fault)
	}
	for _, s := range segments {
		if fault := segmentFault(s); fault != "" {
			return ID{}, badID(s, fault)
		}
	}
	return ParseID(scheme + strings.Join(append([]string{trustDomain}, segments...), "/"))
}

// String returns the ID as a URI, or "" for the zero ID.
func (id ID) String() string { return id.uri }

// IsZero says whether this is the zero ID.
func (id ID) IsZero() bool { return id.uri == "" }

// TrustDomain returns the trust domain: in spiffe://dev.internal/x, dev.internal.
func (id ID) TrustDomain() string {
	if id.IsZero() {
		return ""
	}
	return id.uri[len(scheme) : len(scheme)+id.domain]
}

// Path returns what follows the trust domain, with its leading slash, or "".
// An ID without a path names the trust domain itself and belongs to its CA.
func (id ID) Path() string {
	if id.IsZero() {
		return ""
	}
	return id.uri[len(scheme)+id.domain:]
}

func domainFault(domain string) string {
	switch {
	case domain == "":
		return "the trust domain is missing"
	case len(domain) > maxDomain:
		return fmt.Sprintf("the trust domain is %d bytes long, %d are allowed", len(domain), maxDomain)
	}
	for i := range len(domain) {
		if c := domain[i]; !isDigit(c) && !isLower(c) && !isMark(c) {
			return fmt.Sprintf("the trust domain holds %q: only a-z, 0-9, '.', '-' and '_' are allowed", c)
		}
	}
	return ""
}

func segmentFault(segment string) string {
	switch segment {
	case "":
		return "the path has an empty segment"
	case ".", "..":
		return "the path must not hold '.' or '..'"
	}
	for i := range len(segment) {
		if c := segment[i]; !isDigit(c) && !isLower(c|0x20) && !isMark(c) {
			return fmt.Sprintf("the path holds %q: only letters, digits, '.', '-' and '_' are allowed", c)
		}
	}
	return ""
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }
func isLower(c byte) bool { return 'a' <= c && c <= 'z' }
func isMark(c byte) bool  { return c == '.' || c == '-' || c == '_' }

// badID quotes what it refuses, cut to a length that a log can bear: the text
// may come from a stranger's certificate.
func badID(s, fault string) error {
	const shown = 200
	if len(s) > shown {
		s = s[:shown] + "..."
	}
	return fmt.Errorf("%w: %q: %s", ErrBadID, s, fault)
}
