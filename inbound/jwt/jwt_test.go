package jwt

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/innermesh/innermesh/inbound/intention"
)

func bearer(token string) map[string][]string {
	return http.Header{"Authorization": {"Bearer " + token}}
}

func open(t testing.TB, list ...Provider) *Providers {
	t.Helper()
	p := New(slog.New(slog.DiscardHandler))
	t.Cleanup(p.Close)
	p.Accept(list)
	return p
}

func TestGoodTokens(t *testing.T) {
	for _, a := range []jose.SignatureAlgorithm{jose.RS256, jose.PS384, jose.ES256, jose.EdDSA} {
		i := newIssuer(t, a, "k1")
		p := open(t, entry(public(t, newIssuer(t, a, "k0"), i)))
		claims, err := p.Of(t.Context(), bearer(i.token(t, map[string]any{"perms": map[string]any{"role": "admin"}})), "").Claims("idp")
		if err != nil || claims["sub"] != "alice" || claims["perms"].(map[string]any)["role"] != "admin" {
			t.Errorf("%s: %v, %v", a, claims, err)
		}
	}
}

func TestBadTokens(t *testing.T) {
	i, stranger := newIssuer(t, jose.ES256, "k1"), newIssuer(t, jose.ES256, "k1")
	document := public(t, i)
	p := open(t, entry(document))
	ago := func(d time.Duration) int64 { return time.Now().Add(-d).Unix() }
	good := i.token(t, nil)
	parts := strings.Split(good, ".")
	b64 := base64.RawURLEncoding.EncodeToString
	changed := strings.Replace(string(must(base64.RawURLEncoding.DecodeString(parts[1]))), "alice", "mallo", 1)
	signedWith := func(key any, a jose.SignatureAlgorithm) string {
		s, err := jose.NewSigner(jose.SigningKey{Algorithm: a, Key: key}, (&jose.SignerOptions{}).WithHeader("kid", "k1"))
		if err != nil {
			t.Fatal(err)
		}
		return must(jwt.Signed(s).Claims(map[string]any{"iss": "https://idp", "aud": "web"}).Serialize())
	}
	public, err := json.Marshal(jose.JSONWebKey{Key: i.key.Public()})
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		token string
		want  error
	}{
		"none":                  {b64([]byte(`{"alg":"none"}`)) + "." + parts[1] + ".", ErrTokenMalformed},
		"None":                  {b64([]byte(`{"alg":"None","kid":"k1"}`)) + "." + parts[1] + ".", ErrTokenMalformed},
		"public key as secret":  {signedWith(public, jose.HS256), ErrTokenMalformed},
		"key set as secret":     {signedWith(document, jose.HS512), ErrTokenMalformed},
		"another's signature":   {stranger.token(t, nil), ErrSignature},
		"own key in the header": {embedded(t, stranger), ErrSignature},
		"changed claims":        {parts[0] + "." + b64([]byte(changed)) + "." + parts[2], ErrSignature},
		"no signature":          {parts[0] + "." + parts[1] + ".", ErrSignature},
		"half":                  {parts[0] + "." + parts[1], ErrTokenMalformed},
		"no token":              {"alice", ErrTokenMalformed},
		"too large":             {good + strings.Repeat("A", maxToken), ErrTokenMalformed},
		"another issuer":        {i.token(t, map[string]any{"iss": "https://idp/"}), ErrIssuer},
		"no issuer":             {i.token(t, map[string]any{"iss": nil}), ErrIssuer},
		"another audience":      {i.token(t, map[string]any{"aud": []string{"stock"}}), ErrAudience},
		"no audience":           {i.token(t, map[string]any{"aud": nil}), ErrAudience},
		"expired":               {i.token(t, map[string]any{"exp": ago(40 * time.Second)}), ErrExpired},
		"not yet":               {i.token(t, map[string]any{"nbf": ago(-40 * time.Second)}), ErrNotYetValid},
		"from the future":       {i.token(t, map[string]any{"iat": ago(-40 * time.Second)}), ErrNotYetValid},
	} {
		_, err := p.Of(t.Context(), bearer(test.token), "").Claims("idp")
		if !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", name, err, test.want)
		}
		for part := range strings.SplitSeq(test.token, ".") {
			if err != nil && len(part) > 6 && strings.Contains(err.Error(), part) {
				t.Errorf("%s: the error has the token", name)
			}
		}
	}
	for name, claims := range map[string]map[string]any{
		"clocks differ": {"exp": ago(20 * time.Second), "nbf": ago(-20 * time.Second)},
		"for ever":      {"exp": nil},
		"one of many":   {"aud": []string{"stock", "web"}},
	} {
		if _, err := p.Of(t.Context(), bearer(i.token(t, claims)), "").Claims("idp"); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := p.Of(t.Context(), bearer(good), "").Claims("unknown"); !errors.Is(err, ErrUnknownProvider) {
		t.Error(err)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// embedded is a token that brings its key along.
func embedded(t *testing.T, i *issuer) string {
	t.Helper()
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: i.algorithm, Key: i.key}, &jose.SignerOptions{EmbedJWK: true})
	if err != nil {
		t.Fatal(err)
	}
	return must(jwt.Signed(s).Claims(map[string]any{"iss": "https://idp", "aud": "web"}).Serialize())
}

func TestLocations(t *testing.T) {
	i := newIssuer(t, jose.EdDSA, "")
	token, other := i.token(t, nil), newIssuer(t, jose.EdDSA, "").token(t, nil)
	var places Provider
	config := `{"Name":"idp","Issuer":"https://idp","Locations":[{"Header":{"Name":"x-tok","ValuePrefix":"T "}},{"QueryParam":{"Name":"tok"}},{"Cookie":{"Name":"ck"}}]}`
	if err := json.Unmarshal([]byte(config), &places); err != nil { //nolint:musttag // Consul spells its fields as Go does
		t.Fatal(err)
	}
	places.JSONWebKeySet = entry(public(t, i)).JSONWebKeySet
	byDefault := entry(public(t, i))
	for name, test := range map[string]struct {
		p      Provider
		header http.Header
		query  string
		want   error
	}{
		"bearer":               {byDefault, bearer(token), "", nil},
		"as metadata":          {byDefault, http.Header{"authorization": {"bearer " + token}}, "", nil},
		"query by default":     {byDefault, nil, "a=b&access_token=" + token, nil},
		"both":                 {byDefault, bearer(token), "access_token=" + token, nil},
		"one of them bad":      {byDefault, bearer(token), "access_token=" + other, ErrSignature},
		"two of them":          {byDefault, http.Header{"Authorization": {"Bearer " + token, "Bearer " + other}}, "", ErrSignature},
		"two spellings":        {byDefault, http.Header{"Authorization": {"Bearer " + token}, "authorization": {"Bearer " + other}}, "", ErrSignature},
		"too many":             {byDefault, http.Header{"Authorization": {"Bearer a", "Bearer b", "Bearer c", "Bearer d", "Bearer e"}}, "", ErrTooMany},
		"another scheme":       {byDefault, http.Header{"Authorization": {"Basic YTpi"}}, "", intention.ErrNoToken},
		"empty":                {byDefault, http.Header{"Authorization": {"Bearer "}}, "", intention.ErrNoToken},
		"nothing":              {byDefault, nil, "", intention.ErrNoToken},
		"a query that is none": {byDefault, nil, "access_token=%zz", ErrTokenMalformed},
		"header":               {places, http.Header{"X-Tok": {"T " + token}}, "", nil},
		"query":                {places, nil, "tok=" + token, nil},
		"cookie":               {places, http.Header{"Cookie": {"a=b; ck=" + token}}, "", nil},
		"another cookie":       {places, http.Header{"Cookie": {"ckx=" + token}}, "", intention.ErrNoToken},
		"not by default":       {places, bearer(token), "access_token=" + token, intention.ErrNoToken},
	} {
		if _, err := open(t, test.p).Of(t.Context(), test.header, test.query).Claims("idp"); !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", name, err, test.want)
		}
	}
}

func TestHandlersSee(t *testing.T) {
	i := newIssuer(t, jose.EdDSA, "")
	hidden := entry(public(t, i))
	hidden.Forwarding = &Forwarding{HeaderName: "x-claims", PadForwardPayloadHeader: true}
	p := open(t, hidden)
	header := bearer(i.token(t, nil))
	header["Authorization"] = append(header["Authorization"], "Basic YTpi")
	header["X-Claims"], header["x-claims"] = []string{"forged"}, []string{"forged"}
	tokens := p.Of(t.Context(), header, "")
	if !tokens.Guarded() {
		t.Error("a header that is to be taken out is none of its business")
	}
	if _, err := tokens.Claims("idp"); err != nil {
		t.Fatal(err)
	}
	tokens.Change(header, http.CanonicalHeaderKey)
	if got := fmt.Sprint(header["Authorization"], header["x-claims"]); got != "[Basic YTpi] []" {
		t.Error(got)
	}
	payload, err := base64.URLEncoding.DecodeString(header["X-Claims"][0])
	if err != nil || len(header["X-Claims"]) != 1 || !bytes.Contains(payload, []byte(`"sub":"alice"`)) {
		t.Error(header, err)
	}
	forged := http.Header{"X-Claims": {"forged"}, "Authorization": {"Bearer bad"}}
	tokens = p.Of(t.Context(), forged, "")
	if _, err := tokens.Claims("idp"); err == nil {
		t.Error("a bad token is good")
	}
	tokens.Change(forged, http.CanonicalHeaderKey)
	if len(forged) != 1 || forged["Authorization"] == nil {
		t.Error("what was not found good is the handler's, what was forged is not: ", forged)
	}
	if open(t).Of(t.Context(), forged, "").Guarded() {
		t.Error("without providers there is something to do")
	}
}

// A good token is taken out of the query, and nothing else is touched; a cookie
// stays, as with sidecars.
func TestHandlersSeeQueries(t *testing.T) {
	i := newIssuer(t, jose.EdDSA, "")
	token, bad := i.token(t, nil), newIssuer(t, jose.EdDSA, "").token(t, nil)
	var places, forwards Provider
	for config, into := range map[string]*Provider{
		`{"Name":"idp","Issuer":"https://idp","Locations":[{"QueryParam":{"Name":"my tok"}},{"Cookie":{"Name":"ck"}}]}`:                   &places,
		`{"Name":"idp","Issuer":"https://idp","Locations":[{"Header":{"Name":"x-tok","Forward":true}},{"QueryParam":{"Name":"my tok"}}]}`: &forwards,
	} {
		if err := json.Unmarshal([]byte(config), into); err != nil { //nolint:musttag // Consul spells its fields as Go does
			t.Fatal(err)
		}
		into.JSONWebKeySet = entry(public(t, i)).JSONWebKeySet
	}
	byDefault := entry(public(t, i))
	for name, test := range map[string]struct {
		p           Provider
		query, want string
	}{
		"alone":             {byDefault, "access_token=" + token, ""},
		"among others":      {byDefault, "a=%2f&access_token=" + token + "&b&a=+1", "a=%2f&b&a=+1"},
		"twice":             {byDefault, "access_token=" + token + "&a=1&access_token=" + token, "a=1"},
		"an escaped name":   {byDefault, "access%5Ftoken=" + token + "&a=1", "a=1"},
		"empty beside":      {byDefault, "access_token=" + token + "&access_token=&a=1", "a=1"},
		"of similar names":  {byDefault, "access_tokens=x&access_token=" + token + "&Access_token=y", "access_tokens=x&Access_token=y"},
		"a name of its own": {places, "my+tok=" + token + "&access_token=z", "access_token=z"},
		"not good":          {byDefault, "access_token=" + bad, "access_token=" + bad},
		"forwarded":         {forwards, "my%20tok=" + token, "my%20tok=" + token},
		"none":              {byDefault, "a=1", "a=1"},
	} {
		tokens := open(t, test.p).Of(t.Context(), nil, test.query)
		_, _ = tokens.Claims("idp") // good or not, as the row says
		if got := tokens.Query(); got != test.want {
			t.Errorf("%s: %q is left, want %q", name, got, test.want)
		}
		untouched := open(t, test.p).Of(t.Context(), nil, test.query)
		if got := untouched.Query(); got != test.query {
			t.Errorf("%s: nobody has asked for a token, and %q is left", name, got)
		}
	}
	header := http.Header{"Cookie": {"a=b; ck=" + token}}
	tokens := open(t, places).Of(t.Context(), header, "")
	if _, err := tokens.Claims("idp"); err != nil {
		t.Fatal(err)
	}
	if tokens.Change(header, http.CanonicalHeaderKey); header.Get("Cookie") != "a=b; ck="+token {
		t.Errorf("the cookies are %q", header)
	}
}

func TestDecodeAndValidate(t *testing.T) {
	list, err := Decode([]byte(`[{"Kind":"jwt-provider","Name":"a","Hash":18446744073709551615,"CreateIndex":1,"ModifyIndex":2,"Meta":{"x":"y"},
		"CacheConfig":{"Size":1},"Issuer":"i","ClockSkewSeconds":9,"JSONWebKeySet":{"Remote":{"URI":"https://h/k","CacheDuration":600000000000,
		"RetryPolicy":{"NumRetries":2,"RetryPolicyBackOff":{"BaseInterval":1000000000}}}}},
		{"Name":"b","Issuer":"i","JSONWebKeySet":{"Local":{"JWKS":"e30="}},"New":{"x":1}}]`))
	if err != nil || len(list) != 2 {
		t.Fatal(list, err)
	}
	if err := list[0].Validate(); err != nil || list[0].JSONWebKeySet.Remote.CacheDuration != 10*time.Minute {
		t.Error(err)
	}
	if err := list[1].Validate(); err == nil || !strings.Contains(err.Error(), "New") {
		t.Error("an unknown field is taken:", err)
	}
	for _, bad := range []string{"", "{}", "[1]", "[{}]", `[{"Name":1}]`} {
		if _, err := Decode([]byte(bad)); !errors.Is(err, ErrMalformed) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	for want, text := range map[string]string{
		"Name: is empty":           `{"Issuer":"i"}`,
		"Issuer: is empty":         `{"Name":"a"}`,
		"ClockSkewSeconds":         `{"ClockSkewSeconds":-1}`,
		"Locations[0]":             `{"Locations":[{}]}`,
		"Forwarding.HeaderName":    `{"Forwarding":{"HeaderName":"host"}}`,
		"JSONWebKeySet: must":      `{"JSONWebKeySet":{"Local":{},"Remote":{}}}`,
		"JSONWebKeySet.Local":      `{"JSONWebKeySet":{"Local":{"JWKS":"a","Filename":"b"}}}`,
		"JSONWebKeySet.Remote.URI": `{"JSONWebKeySet":{"Remote":{"URI":"file:///etc/passwd"}}}`,
		"CaCertificateProvider":    `{"JSONWebKeySet":{"Remote":{"URI":"https://a","JWKSCluster":{"TLSCertificates":{"CaCertificateProviderInstance":{}}}}}}`,
	} {
		var p Provider
		if err := json.Unmarshal([]byte(text), &p); err != nil { //nolint:musttag // Consul spells its fields as Go does
			t.Fatal(err)
		}
		if err := p.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}

// What can not be obeyed refuses, and the log says so once.
func TestBrokenProviders(t *testing.T) {
	var log bytes.Buffer
	p := New(slog.New(slog.NewTextHandler(&log, nil)))
	defer p.Close()
	i := newIssuer(t, jose.EdDSA, "")
	symmetric := []byte(`{"keys":[{"kty":"oct","k":"c2VjcmV0LXNlY3JldC1zZWNyZXQ"},{"kty":"new"},7]}`)
	document := public(t, i)
	file := filepath.Join(t.TempDir(), "keys.json")
	if err := os.WriteFile(file, document, 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		for _, keys := range [][]byte{nil, []byte("{"), []byte("{}"), symmetric} {
			p.Accept([]Provider{entry(keys)})
			if _, err := p.Of(t.Context(), bearer(i.token(t, nil)), "").Claims("idp"); !errors.Is(err, ErrProvider) {
				t.Errorf("%s: %v", keys, err)
			}
			p.Accept([]Provider{entry(keys)})
		}
		fromFile := entry(nil)
		fromFile.JSONWebKeySet.Local = &Local{Filename: file}
		p.Accept([]Provider{fromFile})
		if _, err := p.Of(t.Context(), bearer(i.token(t, nil)), "").Claims("idp"); err != nil {
			t.Error(err)
		}
	}
	if n := strings.Count(log.String(), "level=ERROR"); n != 6 || strings.Contains(log.String(), "c2VjcmV0") {
		t.Errorf("%d errors:\n%v", n, &log)
	}
}

// Whatever is shown, nobody is let in by it, and nothing of it is told.
func FuzzToken(f *testing.F) {
	i := newIssuer(f, jose.ES256, "k1")
	good := i.token(f, nil)
	p := open(f, entry(public(f, i)))
	f.Add(good, "")
	f.Add("a.b.c", "access_token=a.b.c")
	f.Add("eyJhbGciOiJub25lIn0.e30.", "access_token=%41")
	f.Add(good[:len(good)-2], "access_token="+good)
	f.Fuzz(func(t *testing.T, token, query string) {
		_, err := p.Of(t.Context(), bearer(token), query).Claims("idp")
		if err == nil && !strings.Contains(token+query, good[:strings.LastIndexByte(good, '.')]) && strings.TrimSpace(token+query) != "" {
			t.Fatalf("%q, %q: let in", token, query)
		}
		if err != nil && len(token) > 20 && strings.Contains(err.Error(), token) {
			t.Fatalf("told: %v", err)
		}
	})
}

func FuzzKeys(f *testing.F) {
	f.Add(public(f, newIssuer(f, jose.ES256, "k1")))
	f.Add([]byte(`{"keys":[{"kty":"oct","k":"AAAA"},{"kty":"RSA","n":"AA","e":"AQAB"}]}`))
	f.Fuzz(func(t *testing.T, document []byte) {
		found, err := parseKeys(document)
		if (err == nil) != (len(found) > 0) {
			t.Fatal(found, err)
		}
		for _, k := range found {
			if _, secret := k.Key.([]byte); secret || !k.IsPublic() {
				t.Fatalf("a secret: %T", k.Key)
			}
		}
	})
}
