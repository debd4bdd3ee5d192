package consulsign

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/innermesh/innermesh/tlsutil"
)

// Options say whose certificate is wanted, and where Consul's servers are.
type Options struct {
	// Service is the name of the service. It need not be registered. Required.
	Service string
	// Datacenter is the one whose servers are asked. Default: "dc1".
	Datacenter string
	// Namespace and Partition are those of the service. Default: "default".
	Namespace, Partition string
	// Servers are the gRPC addresses of Consul's servers, "host:port", where one
	// that answers is enough; a name may stand for many. Required.
	Servers []string
	// TLS is for the port grpc_tls; give RootCAs and, because servers are asked by
	// addresses that their certificates may not have, ServerName: usually
	// "server.<datacenter>.consul". Default: plain text.
	TLS *tls.Config
	// PlainText allows plain text to servers that are not on this machine, where
	// the token can be read on the way. Default: not allowed.
	PlainText bool
	// Token is sent with each call. Default: none.
	Token string
	// Smear is the span within which a certificate is signed anew after Consul's CA
	// has changed, as in [tlsutil.RenewerOptions]. Default: 30 s. Negative: at once.
	Smear time.Duration
	// Log hears of changes, refusals and the alarm, once each. Default:
	// slog.Default().
	Log *slog.Logger
}

// Validate reports all faults with the names of their fields.
func (o Options) Validate() error {
	var faults []error
	if o.Service == "" {
		faults = append(faults, fmt.Errorf("%s: is empty: name the service whose certificate is wanted", "Service"))
	} else if err := o.name("any.internal").Validate(); err != nil {
		faults = append(faults, err)
	}
	if len(o.Servers) == 0 {
		faults = append(faults, fmt.Errorf("%s: there are none: give the gRPC addresses of Consul's servers", "Servers"))
	}
	for i, address := range o.Servers {
		host, _, err := net.SplitHostPort(address)
		switch {
		case err != nil:
			faults = append(faults, fmt.Errorf("%s[%d]: %q: want host:port", "Servers", i, address))
		case o.TLS == nil && !o.PlainText && !here(host):
			faults = append(faults, fmt.Errorf("%s[%d]: %q is not on this machine: give TLS, or allow PlainText", "Servers", i, address))
		}
	}
	return errors.Join(faults...)
}

// name is the service in a trust domain.
func (o Options) name(domain string) tlsutil.ServiceID {
	return tlsutil.ServiceID{
		TrustDomain: domain, Partition: o.Partition, Namespace: o.Namespace,
		Datacenter: cmp.Or(o.Datacenter, "dc1"), Service: o.Service,
	}
}

// here says whether a host can only be this machine.
func here(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
