package tlsutil

import (
	"math/rand/v2"
	"time"
)

// late is the share of its life that is left to a certificate whose renewal has
// failed for a while: every clock here renews before.
const late = 0.1

// renewAfter says when to renew a certificate that has so long to live: after
// about two thirds, with jitter so that services started together do not renew
// together.
func renewAfter(left time.Duration) time.Duration {
	return time.Duration(float64(left) * (0.62 + 0.1*rand.Float64()))
}

// smeared is when a certificate is replaced after a change of who signs. The
// first third of the span is left for the new roots to reach everybody, the rest
// keeps a whole mesh from asking at once.
func smeared(span time.Duration) time.Duration {
	return time.Duration(float64(span) * (1 + 2*rand.Float64()) / 3)
}

// retryAfter is how long to wait after that many failures in a row: doubling from
// 1 s to 1 min, half of it by chance, but never a large part of what is left.
func retryAfter(failures int, left time.Duration) time.Duration {
	wait := min(time.Second<<min(failures-1, 6), time.Minute)
	if left > 0 {
		wait = min(wait, max(left/10, 50*time.Millisecond))
	}
	return wait/2 + rand.N(wait/2+1)
}

// age is how far an identity has come.
type age uint8

const (
	fresh age = iota
	nearEnd
	expired
)

// ageOf returns the age of an identity, and how long until the next one begins; 0
// if it is the last.
func ageOf(id *Identity, now time.Time) (a age, next time.Duration) {
	leaf := id.cert.Leaf
	near := leaf.NotAfter.Add(-time.Duration(late * float64(leaf.NotAfter.Sub(leaf.NotBefore))))
	switch {
	case now.After(leaf.NotAfter):
		return expired, 0
	case now.Before(near):
		return fresh, near.Sub(now)
	default:
		return nearEnd, leaf.NotAfter.Sub(now) + 1
	}
}
