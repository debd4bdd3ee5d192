package route

import (
	"math/bits"
	"strings"

	"github.com/cespare/xxhash/v2"

	"github.com/innermesh/innermesh/policy"
)

// Hash combines what a policy wants hashed of a request, as Envoy does: each
// part turns the hash by one bit and is mixed in, and a terminal one ends the
// list once there is a hash. ok is false if nothing was found.
//
// source is who calls, hashed where the policy says so.
func Hash(parts []policy.Hash, r Request, source string) (hash uint64, ok bool) {
	for _, p := range parts {
		if value, there := part(p, r, source); there {
			hash = bits.RotateLeft64(hash, 1) ^ xxhash.Sum64String(value)
			ok = true
		}
		if ok && p.Terminal {
			break
		}
	}
	return hash, ok
}

func part(p policy.Hash, r Request, source string) (value string, ok bool) {
	switch {
	case p.Header != "":
		return r.HeaderValue(strings.ToLower(p.Header))
	case p.Query != "":
		return r.QueryValue(p.Query)
	case p.Cookie != "":
		return cookie(p.Cookie, r)
	default:
		return source, source != ""
	}
}

// cookie finds a cookie in the request's header. Several lines are joined with
// commas on the way here, which a cookie's value can not hold.
func cookie(name string, r Request) (value string, ok bool) {
	line, _ := r.HeaderValue("cookie")
	for pair := range strings.FieldsFuncSeq(line, func(c rune) bool { return c == ';' || c == ',' }) {
		if key, v, found := strings.Cut(strings.TrimSpace(pair), "="); found && key == name {
			return strings.Trim(v, `"`), true
		}
	}
	return "", false
}
