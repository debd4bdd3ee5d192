package httpadapter

import (
	"net/url"
	"strings"
)

// consulSuffixes are the names under which Consul's DNS knows a service.
var consulSuffixes = [...]string{".service.consul", ".virtual.consul"}

// serviceOf returns the service a URL names, or "" if it names none: services
// are single labels, bare or under one of Consul's suffixes, and so never an IP
// address. Ports are ignored: the instance has its own.
func serviceOf(u *url.URL) string {
	if u.Scheme != "http" && u.Scheme != "https" {
		return ""
	}
	host := strings.ToLower(strings.TrimSuffix(u.Hostname(), "."))
	for _, suffix := range consulSuffixes {
		if name, ok := strings.CutSuffix(host, suffix); ok {
			host = name
			break
		}
	}
	if host == "" || host == "localhost" || strings.ContainsAny(host, ".:") {
		return ""
	}
	return host
}
