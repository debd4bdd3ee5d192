package deadletter

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// Secrets say what is never written into a letter. The zero value removes what
// [SecretHeaders] and [SecretParams] list, and a user and password in the URL.
// What was removed is named in [Letter.Removed]; who sends the letter again puts
// fresh ones in, see [HTTPSender.Prepare]. Bodies are kept as they are.
type Secrets struct {
	// Headers are removed besides SecretHeaders. Case does not matter.
	Headers []string
	// Params are query parameters that are removed besides SecretParams. Case
	// does not matter.
	Params []string
	// Keep names headers and parameters to keep although they are listed.
	Keep []string
}

// SecretHeaders lists the headers that are always taken for secrets, and with
// them all whose names contain "token", "secret", "password", "api-key" or
// "credential".
func SecretHeaders() []string {
	return []string{
		"Authorization", "Proxy-Authorization", "Cookie", "Cookie2", "Set-Cookie", "Set-Cookie2", "X-Auth", "X-Auth-Token", "X-Access-Token",
		"X-Api-Key", "X-Apikey", "Api-Key", "Apikey", "X-Consul-Token", "X-Vault-Token", "X-Nomad-Token", "X-Amz-Security-Token",
		"X-Goog-Api-Key", "X-Goog-Iam-Authorization-Token", "X-Csrf-Token", "X-Xsrf-Token", "X-Session-Id", "X-Forwarded-Client-Cert",
		"Grpc-Trace-Bin-Auth", "Www-Authenticate", "Proxy-Authenticate", "Authentication-Info", "Dpop", "X-Signature", "X-Hub-Signature-256",
	}
}

// SecretParams lists the query parameters that are always taken for secrets.
func SecretParams() []string {
	return []string{
		"access_token", "refresh_token", "id_token", "token", "auth", "apikey", "api_key", "api-key", "password", "passwd", "pwd", "secret",
		"client_secret", "signature", "sig", "x-amz-signature", "x-amz-credential", "x-amz-security-token", "x-goog-signature", "session",
	}
}

var secretParts = []string{"token", "secret", "password", "api-key", "apikey", "credential"}

// strip takes the secrets out of a letter and returns their values.
func (s Secrets) strip(l *Letter) (secrets []string) {
	h, removed, values := s.header(l.Header)
	l.Header = h
	if u, err := url.Parse(l.URL); err == nil && l.URL != "" {
		clean, params, more := s.url(u)
		l.URL = clean.String()
		removed, values = append(removed, params...), append(values, more...)
	}
	l.Removed = append(slices.Clip(l.Removed), removed...)
	return values
}

// header returns h without secrets, the names of what was removed, and the
// values, to keep them out of errors too.
func (s Secrets) header(h http.Header) (kept http.Header, removed, values []string) {
	listed := SecretHeaders()
	for name, vs := range h {
		lower := strings.ToLower(name)
		secret := foldIn(listed, name) || foldIn(s.Headers, name) ||
			slices.ContainsFunc(secretParts, func(part string) bool { return strings.Contains(lower, part) })
		if secret && !foldIn(s.Keep, name) {
			removed = append(removed, name)
			values = append(values, vs...)
			continue
		}
		if kept == nil {
			kept = http.Header{}
		}
		kept[name] = slices.Clone(vs)
	}
	slices.Sort(removed)
	return kept, removed, values
}

// url returns u without secrets, as header does. The order of the other
// parameters stays.
func (s Secrets) url(u *url.URL) (kept *url.URL, removed, values []string) {
	c := *u
	c.Fragment, c.RawFragment = "", "" // never sent
	if c.User != nil {
		removed = append(removed, "userinfo")
		if p, ok := c.User.Password(); ok {
			values = append(values, p)
		}
		c.User = nil
	}
	if c.RawQuery == "" {
		return &c, removed, values
	}
	listed := SecretParams()
	var parts []string
	for part := range strings.SplitSeq(c.RawQuery, "&") {
		name, value, _ := strings.Cut(part, "=")
		if plain, err := url.QueryUnescape(name); err == nil {
			name = plain
		}
		if (foldIn(listed, name) || foldIn(s.Params, name)) && !foldIn(s.Keep, name) {
			removed = append(removed, name)
			values = append(values, value)
			if plain, err := url.QueryUnescape(value); err == nil && plain != value {
				values = append(values, plain)
			}
			continue
		}
		parts = append(parts, part)
	}
	c.RawQuery = strings.Join(parts, "&")
	return &c, removed, values
}

// redact takes secrets out of a text. Very short ones are left: they would take
// the text apart, and are no secrets.
func redact(text string, secrets []string) string {
	for _, v := range secrets {
		if _, credentials, ok := strings.Cut(v, " "); ok && len(credentials) >= 6 { // "Bearer ..."
			text = strings.ReplaceAll(text, credentials, "[removed]")
		}
		if len(v) >= 6 {
			text = strings.ReplaceAll(text, v, "[removed]")
		}
	}
	return text
}

func foldIn(list []string, name string) bool {
	return slices.ContainsFunc(list, func(s string) bool { return strings.EqualFold(s, name) })
}
