package jwt

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// What is remembered of a token is its signature alone: it expires, is refused when
// its key is gone, and one that is changed is another.
func TestSeen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i, next := newIssuer(t, jose.ES256, "k1"), newIssuer(t, jose.ES256, "k2")
		p := open(t, entry(public(t, i)))
		ask := func(token string) error {
			claims, err := p.Of(t.Context(), bearer(token), "").Claims("idp")
			if err != nil {
				return err
			}
			if claims["sub"] != "alice" {
				t.Errorf("the claims are %v", claims)
			}
			claims["sub"] = "mallory" // a handler that changes what it was given
			return nil
		}
		token := i.token(t, map[string]any{"exp": time.Now().Add(time.Minute).Unix()})
		for range 3 {
			if err := ask(token); err != nil {
				t.Fatal(err)
			}
		}
		if one := p.all.Load().by["idp"]; len(one.seen.good) != 1 {
			t.Errorf("%d signatures are remembered, want one", len(one.seen.good))
		}
		for n := range len(token) - 1 {
			if token[n+1] == '.' {
				continue // the last letter of a part has bits that nobody reads
			}
			changed := []byte(token)
			if changed[n] ^= 1; ask(string(changed)) == nil {
				t.Fatalf("the token is good with another letter at %d", n)
			}
		}
		time.Sleep(time.Minute + 31*time.Second)
		if err := ask(token); !errors.Is(err, ErrExpired) {
			t.Errorf("after its time: %v", err)
		}
		token = i.token(t, nil)
		if err := ask(token); err != nil {
			t.Fatal(err)
		}
		p.Accept([]Provider{entry(public(t, next))})
		if err := ask(token); !errors.Is(err, ErrSignature) {
			t.Errorf("after its key is gone: %v", err)
		}
	})
}

// It is bounded, and begins anew with other keys.
func TestSeenIsBounded(t *testing.T) {
	var s seen
	one, other := make(keys, 1), make(keys, 1)
	for n := range 3 * maxSeen {
		s.add(one, fmt.Sprint(n))
	}
	if len(s.good) > maxSeen || !s.has(one, fmt.Sprint(3*maxSeen-1)) {
		t.Errorf("%d are remembered, and the last one: %v", len(s.good), s.has(one, fmt.Sprint(3*maxSeen-1)))
	}
	if s.has(other, fmt.Sprint(3*maxSeen-1)) || s.has(nil, "1") || s.has(make(keys, 0), "1") {
		t.Error("other keys have signed it")
	}
	if s.add(other, "x"); s.has(one, fmt.Sprint(3*maxSeen-1)) || !s.has(other, "x") {
		t.Error("with other keys it does not begin anew")
	}
}

// The first time that a token is shown, beside all others.
func BenchmarkToken(b *testing.B) {
	for _, a := range []jose.SignatureAlgorithm{jose.RS256, jose.ES256, jose.EdDSA} {
		i := newIssuer(b, a, "k1")
		header := bearer(i.token(b, nil))
		p := open(b, entry(public(b, i)))
		one := p.all.Load().by["idp"]
		for name, forget := range map[string]bool{"first": true, "again": false} {
			b.Run(fmt.Sprintf("%s/%s", a, name), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if forget {
						one.seen.by = nil
					}
					if _, err := p.Of(b.Context(), header, "").Claims("idp"); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
