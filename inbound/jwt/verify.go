package jwt

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4/jwt"
)

// What can be wrong with a token.
var (
	ErrUnknownProvider = errors.New("no such provider of tokens is known")
	ErrProvider        = errors.New("the provider of tokens can not be obeyed")
	ErrNoKeys          = errors.New("the provider's keys are not known")
	ErrTokenMalformed  = errors.New("the token is malformed, or signed in a way that is not taken")
	ErrSignature       = errors.New("no key of the provider has signed the token")
	ErrIssuer          = errors.New("the token is of another issuer")
	ErrAudience        = errors.New("the token is for another audience")
	ErrExpired         = errors.New("the token has expired")
	ErrNotYetValid     = errors.New("the token is not valid yet")
	ErrTooMany         = errors.New("the request shows too many tokens")
)

// maxToken bounds a token, in bytes: twice what servers take as headers by habit.
const maxToken = 16 << 10

// verified is a good token.
type verified struct {
	claims  map[string]any
	payload string // in base64, as it came
}

// verify looks at one token. Errors are the ones above, wherever they come from:
// what a library says may quote the token.
func (p *provider) verify(ctx context.Context, token string, now time.Time) (*verified, error) {
	if len(token) > maxToken {
		return nil, ErrTokenMalformed
	}
	parsed, err := jwt.ParseSigned(token, algorithms)
	if err != nil || len(parsed.Headers) != 1 {
		return nil, ErrTokenMalformed
	}
	var stated struct {
		Issuer string `json:"iss"`
	}
	if parsed.UnsafeClaimsWithoutVerification(&stated) != nil {
		return nil, ErrTokenMalformed
	}
	if stated.Issuer != p.Issuer { // looked at again below; here it spares work, and a fetching of keys
		return nil, ErrIssuer
	}
	v := &verified{}
	var registered jwt.Claims
	if err := p.signed(ctx, token, parsed, &registered, &v.claims); err != nil {
		return nil, err
	}
	if registered.Issuer != p.Issuer {
		return nil, ErrIssuer
	}
	expected := jwt.Expected{Issuer: p.Issuer, AnyAudience: p.Audiences, Time: now}
	switch err := registered.ValidateWithLeeway(expected, p.skew()); {
	case errors.Is(err, jwt.ErrInvalidAudience):
		return nil, ErrAudience
	case errors.Is(err, jwt.ErrExpired):
		return nil, ErrExpired
	case err != nil:
		return nil, ErrNotYetValid
	}
	_, rest, _ := strings.Cut(token, ".")
	v.payload, _, _ = strings.Cut(rest, ".")
	return v, nil
}

// signed finds the key, which may be too new to be known.
func (p *provider) signed(ctx context.Context, text string, token *jwt.JSONWebToken, into ...any) error {
	head := token.Headers[0]
	known, err := p.keys.current(ctx)
	if err == nil && p.seen.has(known, text) && token.UnsafeClaimsWithoutVerification(into...) == nil {
		return nil // it was verified with these keys
	}
	for err == nil {
		fit := known.named(head.KeyID, head.Algorithm)
		for _, k := range fit {
			if token.Claims(k.Key, into...) == nil {
				p.seen.add(known, text)
				return nil
			}
		}
		if len(fit) > 0 && head.KeyID != "" {
			return ErrSignature // its key is known, so a newer set would not help
		}
		if known, err = p.keys.newer(ctx, known); known == nil && err == nil {
			return ErrSignature
		}
	}
	return err
}

func (p *provider) skew() time.Duration {
	if p.ClockSkewSeconds == 0 {
		return 30 * time.Second
	}
	return time.Duration(p.ClockSkewSeconds) * time.Second
}
