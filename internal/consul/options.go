package consul

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"time"
)

// Options say which agent to speak to. Every zero field takes its value from
// the standard CONSUL_* environment variables, else Consul's own default.
type Options struct {
	// Address of the agent: "host:port", "http(s)://host:port[/prefix]" or
	// "unix:///path". Default CONSUL_HTTP_ADDR, else localhost:8500.
	Address string
	// Token is the ACL token. Default CONSUL_HTTP_TOKEN.
	Token string
	// TokenFile holds the token instead. It is read again for every request, so
	// that a rotated token is taken up. Default CONSUL_HTTP_TOKEN_FILE.
	TokenFile string
	// Datacenter is asked unless a query names another. Default the agent's own.
	Datacenter string
	// Namespace and Partition are Consul Enterprise's.
	Namespace, Partition string
	// TLS is used when the address is https.
	TLS TLS
	// Wait is how long a query may block without an answer; it bounds how old
	// the data can get when a server was restored from a snapshot. Default 5 min,
	// at most Consul's 10 min.
	Wait time.Duration
	// MaxBody is the largest answer that is read, in bytes. Default 64 MiB.
	MaxBody int64
	// Logger is told changes of state, each once. Default slog.Default().
	Logger *slog.Logger
	// Transport carries the requests instead of one made from the fields above.
	// For tests.
	Transport http.RoundTripper
}

// TLS are the files for speaking https to the agent. Each zero field takes its
// value from the environment (CONSUL_CACERT, CONSUL_CLIENT_CERT and so on).
type TLS struct {
	// CAFile and CAPath verify the agent. Default: the system's roots.
	CAFile, CAPath string
	// CertFile and KeyFile show who we are.
	CertFile, KeyFile string
	// ServerName is expected in the agent's certificate. Default: the host.
	ServerName string
}

// Validate names everything that is wrong with the options.
func (o Options) Validate() error {
	var errs []error
	fault := func(field, format string, args ...any) {
		errs = append(errs, fmt.Errorf("%s: %w", field, fmt.Errorf(format, args...)))
	}
	if scheme, _, found := strings.Cut(o.Address, "://"); found && scheme != "http" && scheme != "https" && scheme != "unix" {
		fault("Address", "%q: want host:port, http://, https:// or unix://", o.Address)
	}
	if o.Token != "" && o.TokenFile != "" {
		fault("Token", "set together with TokenFile: want one of them")
	}
	if o.TokenFile != "" {
		if _, err := os.Stat(o.TokenFile); err != nil {
			fault("TokenFile", "%w", err)
		}
	}
	if (o.TLS.CertFile == "") != (o.TLS.KeyFile == "") {
		fault("TLS", "CertFile and KeyFile: want both or none")
	}
	if o.Wait < 0 || o.Wait > 10*time.Minute {
		fault("Wait", "%v: want 0 (default) to 10m, Consul's limit", o.Wait)
	}
	if o.MaxBody < 0 {
		fault("MaxBody", "%d: want 0 (default) or more", o.MaxBody)
	}
	return errors.Join(errs...)
}
