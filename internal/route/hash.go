package route

import (
	"math/bits"
	"strings"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/innermesh/innermesh/policy"
)

// Origin is where a request comes from, as far as hashes go by it.
type Origin struct {
	// Source is who calls.
	Source string
	// Affinity is what the program says that the call belongs to.
	Affinity string
}

// Hash is what is hashed of a request to find its instance, ready for use.
type Hash struct{ parts []part }

// NewHash compiles what a policy wants hashed.
func NewHash(parts []policy.Hash) Hash {
	var h Hash
	for _, p := range parts {
		h.parts = append(h.parts, part{p, NewName(p.Header)})
	}
	return h
}

// None says that there is nothing to hash.
func (h *Hash) None() bool { return len(h.parts) == 0 }

// Sum combines the parts as Envoy does: each turns the hash by one bit and is
// mixed in, and a terminal one ends the list once there is a hash. ok is false if
// nothing was found.
func (h *Hash) Sum(r Request, from Origin) (hash uint64, ok bool) {
	for i := range h.parts {
		p := &h.parts[i]
		if value, there := p.of(r, from); there {
			hash = bits.RotateLeft64(hash, 1) ^ xxhash.Sum64String(value)
			ok = true
		}
		if ok && p.Terminal {
			break
		}
	}
	return hash, ok
}

type part struct {
	policy.Hash
	header Name
}

func (p *part) of(r Request, from Origin) (value string, ok bool) {
	switch {
	case p.Affinity:
		return from.Affinity, from.Affinity != ""
	case p.Header != "":
		return r.HeaderValue(p.header)
	case p.Query != "":
		return r.QueryValue(p.Query)
	case p.Cookie == "":
		return from.Source, from.Source != ""
	}
	if value, ok = cookie(p.Cookie, r); ok || p.CookieTTL == 0 {
		return value, ok
	}
	if m, can := r.(CookieMaker); can {
		return m.MakeCookie(p.Cookie, p.CookiePath, max(time.Duration(p.CookieTTL), 0)), true
	}
	return "", false
}

var cookieHeader = NewName("cookie")

// cookie finds a cookie in the request's header. Several lines are joined with
// commas on the way here, which a cookie's value can not hold.
func cookie(name string, r Request) (value string, ok bool) {
	line, _ := r.HeaderValue(cookieHeader)
	for pair := range strings.FieldsFuncSeq(line, func(c rune) bool { return c == ';' || c == ',' }) {
		if key, v, found := strings.Cut(strings.TrimSpace(pair), "="); found && key == name {
			return strings.Trim(v, `"`), true
		}
	}
	return "", false
}
