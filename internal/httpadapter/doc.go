// Package httpadapter translates between net/http and the outbound path: it
// describes a request as a call, sends one attempt of it to one instance, and
// judges the response. The contract of [net/http.RoundTripper] is kept to the
// letter.
package httpadapter
