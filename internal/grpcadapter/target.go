package grpcadapter

import "strings"

// Target is what to dial for a service.
func Target(service string) string { return Scheme + ":///" + service }

// cutTarget returns the service of a target, and whether it is the mesh's.
func cutTarget(target string) (string, bool) {
	service, ok := strings.CutPrefix(target, Scheme+":///")
	return strings.ToLower(service), ok
}
