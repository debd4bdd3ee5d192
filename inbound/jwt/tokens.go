package jwt

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/innermesh/innermesh/inbound/intention"
)

// maxTokens bounds the tokens that are looked at for one provider.
const maxTokens = 4

// Tokens are those of one request. It lives as long as the request and is used
// by one goroutine.
type Tokens struct {
	ctx    context.Context //nolint:containedctx // of the request, whose length is its own
	header map[string][]string
	query  string // raw
	all    *table
	looked map[string]*answer
}

// answer is what was found for a provider.
type answer struct {
	*verified
	err error
}

// Of returns the tokens of a request: header is an http.Header or gRPC's
// metadata, query the raw one. Nothing is looked at before a rule asks. ctx
// bounds the waiting for keys that are not known yet.
func (p *Providers) Of(ctx context.Context, header map[string][]string, query string) *Tokens {
	return &Tokens{ctx: ctx, header: header, query: query, all: p.all.Load()}
}

// Claims implements [intention.Tokens]. A provider's tokens are all those at its
// locations: each has to be good, and the first speaks.
func (t *Tokens) Claims(name string) (map[string]any, error) {
	a := t.looked[name]
	if a == nil {
		a = &answer{}
		a.verified, a.err = t.look(name)
		if t.looked == nil {
			t.looked = make(map[string]*answer, 1)
		}
		t.looked[name] = a
	}
	if a.err != nil {
		return nil, fmt.Errorf("token of %q: %w", name, a.err)
	}
	return a.claims, nil
}

func (t *Tokens) look(name string) (*verified, error) {
	p := t.all.by[name]
	switch {
	case p == nil:
		return nil, ErrUnknownProvider
	case p.broken != nil:
		return nil, ErrProvider
	}
	found, err := t.find(p)
	if err != nil {
		return nil, err
	}
	var first *verified
	now := time.Now()
	for _, token := range found {
		v, err := p.verify(t.ctx, token, now)
		if err != nil {
			return nil, err
		}
		if first == nil {
			first = v
		}
	}
	return first, nil
}

// find collects what is shown.
func (t *Tokens) find(p *provider) (found []string, err error) {
	for _, l := range p.locations {
		switch {
		case l.Header != nil:
			for _, v := range t.values(l.Header.Name) {
				if token, ok := l.token(v); ok {
					found = append(found, token)
				}
			}
		case l.QueryParam != nil:
			values, err := url.ParseQuery(t.query)
			if err != nil {
				return nil, ErrTokenMalformed // a part that others read differently
			}
			found = append(found, values[l.QueryParam.Name]...)
		case l.Cookie != nil:
			for _, line := range t.values("Cookie") {
				cookies, err := http.ParseCookie(line)
				if err != nil {
					continue // somebody else's
				}
				for _, c := range cookies {
					if c.Name == l.Cookie.Name {
						found = append(found, c.Value)
					}
				}
			}
		}
	}
	found = slices.DeleteFunc(found, func(s string) bool { return s == "" })
	switch {
	case len(found) == 0:
		return nil, intention.ErrNoToken
	case len(found) > maxTokens:
		return nil, ErrTooMany
	}
	return found, nil
}

// values are those of a header, however it is spelt.
func (t *Tokens) values(name string) []string {
	canonical, lower := http.CanonicalHeaderKey(name), strings.ToLower(name)
	if canonical == lower {
		return t.header[canonical]
	}
	return slices.Concat(t.header[canonical], t.header[lower])
}

// token takes the prefix off, whatever its case: schemes have none (RFC 9110,
// section 11.1).
func (l *Location) token(value string) (string, bool) {
	prefix := l.Header.ValuePrefix
	if len(value) < len(prefix) || !strings.EqualFold(value[:len(prefix)], prefix) {
		return "", false
	}
	return strings.TrimSpace(value[len(prefix):]), true
}

// Change makes the header what the handler sees: without those that only we may
// set, without the tokens that were found good and are not to be forwarded, and
// with what they say where the provider wants it. Header may be the one that was
// looked at. spell is how names are spelled: [http.CanonicalHeaderKey], or
// [strings.ToLower] for gRPC.
func (t *Tokens) Change(header map[string][]string, spell func(string) string) {
	for _, name := range t.all.forged {
		remove(header, name)
	}
	for name, a := range t.looked {
		if a.err != nil {
			continue
		}
		p := t.all.by[name]
		for _, l := range p.locations {
			if l.Header == nil || l.Header.Forward {
				continue
			}
			for _, spelt := range []string{http.CanonicalHeaderKey(l.Header.Name), strings.ToLower(l.Header.Name)} {
				rest := slices.DeleteFunc(slices.Clone(header[spelt]), func(v string) bool { _, is := l.token(v); return is })
				if len(rest) == 0 {
					delete(header, spelt)
				} else {
					header[spelt] = rest
				}
			}
		}
		if f := p.Forwarding; f != nil {
			header[spell(f.HeaderName)] = []string{f.spell(a.payload)}
		}
	}
}

// Query is the raw query that the handler sees: without the tokens that were found
// good, unless the provider forwards tokens in headers. What is left stays as it
// came, byte by byte.
//
// Sidecars do the same, from Envoy 1.31 on; and like them it leaves cookies alone.
func (t *Tokens) Query() string {
	rest := t.query
	for name, a := range t.looked {
		p := t.all.by[name]
		if a.err != nil || slices.ContainsFunc(p.locations, func(l Location) bool { return l.Header != nil && l.Header.Forward }) {
			continue
		}
		for _, l := range p.locations {
			if l.QueryParam != nil {
				rest = without(rest, l.QueryParam.Name)
			}
		}
	}
	return rest
}

// without takes a parameter out of a raw query, however its name is escaped.
func without(query, name string) string {
	if query == "" {
		return ""
	}
	pairs := strings.Split(query, "&")
	rest := slices.DeleteFunc(pairs, func(pair string) bool {
		key, _, _ := strings.Cut(pair, "=")
		key, err := url.QueryUnescape(key)
		return err == nil && key == name
	})
	return strings.Join(rest, "&")
}

// Guarded says whether Change has anything to do: then even a request whose
// tokens nobody has looked at is changed.
func (t *Tokens) Guarded() bool { return len(t.all.forged) > 0 || len(t.looked) > 0 }

func (f *Forwarding) spell(payload string) string {
	if f.PadForwardPayloadHeader {
		payload += strings.Repeat("=", (4-len(payload)%4)%4)
	}
	return payload
}

func remove(header map[string][]string, name string) {
	for spelt := range header {
		if strings.EqualFold(spelt, name) {
			delete(header, spelt)
		}
	}
}

// byDefault is where tokens are without a word about it.
func byDefault() []Location {
	bearer, query := Location{}, Location{}
	bearer.Header = &struct {
		Name, ValuePrefix string
		Forward           bool
	}{"Authorization", "Bearer ", false}
	query.QueryParam = &struct{ Name string }{"access_token"}
	return []Location{bearer, query}
}

var _ intention.Tokens = (*Tokens)(nil)
