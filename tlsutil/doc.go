// Package tlsutil secures connections inside a mesh: both ends show a
// certificate whose one URI is their SPIFFE ID, and each end decides by that ID,
// never by a host name.
//
// The room in reading order:
//
//   - [ID] is a name such as spiffe://dev.internal/ns/default/dc/dc1/svc/web;
//     [ServiceID] is the form that Consul gives to services.
//   - [Identity] is an immutable set of certificate, key and [Roots], and
//     [Source] hands out the current one: [Files] reads it from disk and follows
//     changes, [DevCA] makes it up in memory, for development and tests.
//   - [Authorizer] says which peers are welcome: [AuthorizeService], [AuthorizeID]
//     and so on.
//   - [ClientConfig] and [ServerConfig] put these into a *tls.Config, which may
//     live for years: certificates and roots rotate under it.
//   - [PeerID] tells who is at the other end, [PeerError] why somebody is not.
//
// The least there is to it:
//
//	ca, err := tlsutil.NewDevCA(tlsutil.DevCAOptions{})
//	web, err := ca.Source("web")
//	cfg := tlsutil.ClientConfig(web, tlsutil.AuthorizeService("inventory"), tlsutil.Options{})
//
// Connections are TLS 1.3 with certificates on both sides. Chain, time, name
// and permission are checked on every connection, resumed ones included. With
// TLS 1.3 a client finishes its handshake before the server has judged the
// client: a refused client learns of it from its first read.
//
// Only [Files] starts a goroutine, which its Close ends. Keys never appear in
// errors or logs.
package tlsutil
