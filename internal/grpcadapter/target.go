package grpcadapter

import "strings"

// Target is what to dial for a service.
func Target(service string) string { return Scheme + ":///" + service }

// cutTarget returns the service of a target, and whether it is the mesh's.
func cutTarget(target string) (string, bool) {
	service, ok := strings.CutPrefix(target, Scheme+":///")
	return strings.ToLower(service), ok
}

// isPlain says that a service's name means itself in a target: there is nothing
// to unescape, and no query.
func isPlain(service string) bool { return !strings.ContainsAny(service, "%?#") }
