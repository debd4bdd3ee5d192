package jwt

import (
	"crypto/sha256"
	"sync"
)

// maxSeen bounds the tokens whose signatures are remembered for one provider:
// 32 bytes each, and some for their place.
const maxSeen = 4096

// seen remembers, by hash, tokens that a key of one set has signed: to look at a
// signature is most of the work with a token, and callers show the same one again
// and again. All else that a token says is looked at each time, so nothing is good
// for longer than without. Another set of keys begins anew. It is safe for
// concurrent use.
type seen struct {
	mu   sync.Mutex
	by   keys
	good map[[sha256.Size]byte]struct{}
}

// has says whether a key of the set has signed the token.
func (s *seen) has(by keys, token string) bool {
	sum := sha256.Sum256([]byte(token))
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.good[sum]
	return ok && same(s.by, by)
}

// add notes that one has.
func (s *seen) add(by keys, token string) {
	sum := sha256.Sum256([]byte(token))
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.good == nil || len(s.good) >= maxSeen || !same(s.by, by) {
		s.by, s.good = by, make(map[[sha256.Size]byte]struct{})
	}
	s.good[sum] = struct{}{}
}

// same says whether two sets are one: they are never changed in place.
func same(a, b keys) bool { return len(a) == len(b) && len(a) > 0 && &a[0] == &b[0] }
