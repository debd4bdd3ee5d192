package consul

import (
	"context"
	"fmt"
	"net"
	"strings"

	"github.com/hashicorp/consul/api"
)

// parseAddress reads an agent's address as Consul's own tools do: the scheme of
// the address wins over CONSUL_HTTP_SSL only where it is https.
func parseAddress(config *api.Config) (base, error) {
	scheme, rest, found := strings.Cut(config.Address, "://")
	switch {
	case !found:
		return base{scheme: config.Scheme, host: config.Address}, nil
	case scheme == "unix":
		return base{scheme: config.Scheme, host: "localhost"}, nil
	case scheme == "https":
	case scheme == "http":
		scheme = config.Scheme
	default:
		return base{}, fmt.Errorf("address %q: want host:port, http://, https:// or unix://", config.Address)
	}
	host, prefix, _ := strings.Cut(rest, "/")
	if host == "" {
		return base{}, fmt.Errorf("address %q has no host", config.Address)
	}
	if prefix = strings.Trim(prefix, "/"); prefix != "" {
		prefix = "/" + prefix
	}
	return base{scheme, host, prefix}, nil
}

func dialUnix(path string) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", path)
	}
}
