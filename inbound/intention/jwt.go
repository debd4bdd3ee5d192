package intention

import (
	"errors"
	"fmt"
)

// JWT names the providers of JSON web tokens of which one must vouch for the
// caller.
type JWT struct {
	Providers []Provider
}

// Provider is one of them, by the name of its config entry.
type Provider struct {
	Name string
	// VerifyClaims are what a token must say, all of them.
	VerifyClaims []Claim
}

// Claim is a word that a token must have at a place.
type Claim struct {
	// Path leads there: "perms", "role".
	Path []string
	// Value is the text there. Anything but a text fits nothing, a list of texts
	// included, as in sidecars.
	Value string
}

// Tokens are the JSON web tokens of one request.
type Tokens interface {
	// Claims returns those of the token that this provider vouches for. The error
	// wraps [ErrNoToken] if the request shows none, else it says what is wrong with
	// the one there is, without telling it.
	Claims(provider string) (map[string]any, error)
}

// ErrNoToken is wrapped by errors of [Tokens].
var ErrNoToken = errors.New("the request shows no token")

// check says why it can not be obeyed.
func (j *JWT) check() error {
	if j == nil {
		return nil
	}
	if len(j.Providers) == 0 {
		return errors.New("it asks for a token of nobody")
	}
	for _, p := range j.Providers {
		if p.Name == "" {
			return errors.New("it asks for a token of a provider without a name")
		}
		for _, c := range p.VerifyClaims {
			if len(c.Path) == 0 {
				return fmt.Errorf("it asks for a claim without a name in tokens of %q", p.Name)
			}
		}
	}
	return nil
}

func (j *JWT) names(into map[string]bool) {
	if j == nil {
		return
	}
	for _, p := range j.Providers {
		into[p.Name] = true
	}
}

// demand refuses what is allowed so far unless one of the providers vouches for
// it. What is refused anyway is not looked at: tokens cost time.
//
// Sidecars leave the requirement out where the default policy is to allow, and
// obey denials only towards those who have a token. Here it holds everywhere.
func (j *JWT) demand(d *Decision, req *Request) {
	if j == nil || !d.Allowed {
		return
	}
	d.Allowed, d.Reason, d.Provider, d.Token = false, NoToken, "", ErrNoToken
	if req.Tokens == nil {
		return
	}
	for n := range j.Providers {
		p := &j.Providers[n]
		claims, err := req.Tokens.Claims(p.Name)
		switch {
		case err == nil && p.fits(claims):
			d.Allowed, d.Reason, d.Provider, d.Token = true, ByToken, p.Name, nil
			return
		case err == nil:
			d.Reason, d.Token = WrongClaims, fmt.Errorf("the token of %q has other claims", p.Name)
		case !errors.Is(err, ErrNoToken) && d.Reason == NoToken:
			d.Reason, d.Token = BadToken, err
		}
	}
}

func (p *Provider) fits(claims map[string]any) bool {
	for _, c := range p.VerifyClaims {
		var at any = claims
		for _, name := range c.Path {
			inner, _ := at.(map[string]any)
			at = inner[name]
		}
		if text, ok := at.(string); !ok || text != c.Value {
			return false
		}
	}
	return true
}
