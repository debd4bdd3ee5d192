package mesh

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/innermesh/innermesh/deadletter"
	"github.com/innermesh/innermesh/discovery"
	"github.com/innermesh/innermesh/internal/telemetry"
	"github.com/innermesh/innermesh/policy"
)

// Options configure a [Mesh]. Only Service is required; every other zero value
// is the documented default.
type Options struct {
	// Service is the logical name of this program: the source of its calls in
	// metrics and, with TLS, part of its identity. Required.
	Service string

	// Discovery says where services run. Default: Consul, as Consul says.
	Discovery discovery.Source
	// Registrar makes instances of this program known. Default: Discovery, if
	// it can register too, else none; with the default discovery, Consul.
	Registrar discovery.Registrar
	// Consul says how Consul is reached. If Discovery is set, it is used for
	// TLS.Consul alone.
	Consul ConsulOptions

	// Region and Zone say where this program runs, in the words of the instances'
	// localities: those near by are called first, see balancer.prefer of the
	// policy. A zone lies in a region. Default: those of the Consul agent's
	// locality or node meta, else unknown; then all are equally near.
	Region, Zone string
	// Replica is the number of this copy among all copies of the program, from 1
	// on and kept over restarts, as a StatefulSet or an allocation index gives it.
	// It decides which part of a large service this copy calls, so that all
	// instances have as many clients. Default: unknown; host and process decide,
	// and instances have about as many.
	Replica int

	// TLS secures all calls to services of the mesh, and what [Mesh.Listen] accepts.
	TLS TLSOptions

	// Defaults is laid over the built-in policy, for all services. What Consul
	// says about a service wins over it.
	Defaults policy.Service
	// Pinned is laid over everything else, by service: what it says can not be
	// changed centrally.
	Pinned map[string]policy.Service

	// PolicyFile is a local file with policies, JSON or YAML, that is followed
	// live: an object with defaults, a policy for all services, and services, one
	// for each by name; see [policy.DecodeDocuments]. What it says wins over what
	// Consul says. Default: none.
	PolicyFile string
	// SnapshotDir is a folder in which the last good state of everything that is
	// followed is kept: instances, config entries, documents. A program that
	// starts while Consul is down goes by it. It is made if it is not there, and
	// may be shared. Where nothing can be kept in it that is logged, and the program
	// goes on without. Default: nothing is kept.
	SnapshotDir string

	// DeadLetters keeps calls that must not be lost ([deadletter.With]) and have
	// failed for good: requests over HTTP, and gRPC calls with one request and
	// one answer. Default: none are kept.
	DeadLetters *deadletter.Recorder

	// HTTP concerns the HTTP client alone.
	HTTP HTTPOptions

	// CheckCalls refuses calls before they are sent that the intentions of the
	// service they go to will deny: the error's cause is [call.ErrDenied] and names
	// the rule. What is not known is sent: rules that look at headers or tokens,
	// the default policy, services whose intentions the token may not read. Each
	// service that is called takes one more blocking query. Default: false.
	CheckCalls bool

	// Server concerns what this program serves with [Mesh.Middleware] and
	// [Mesh.GRPCServerOptions].
	Server ServerOptions

	// Admin concerns the live page, [Mesh.AdminHandler]. Default: it is served
	// nowhere until the program mounts it, and is read-only.
	Admin AdminOptions

	// Telemetry says where spans and metrics go. Default: OpenTelemetry's
	// globals, which do nothing until the program sets them.
	Telemetry TelemetryOptions
	// Logger hears of changes of state. Default: slog.Default().
	Logger *slog.Logger
}

// TelemetryOptions say where spans and metrics go.
type TelemetryOptions = telemetry.Options

// HTTPOptions concern the HTTP client.
type HTTPOptions struct {
	// RefuseOutside makes requests to hosts that are not services of the mesh
	// fail instead of passing them on.
	RefuseOutside bool
}

// Validate names every field that is wrong. [New] calls it.
func (o Options) Validate() error {
	var faults []error
	fault := func(field, format string, args ...any) {
		faults = append(faults, &OptionError{Field: field, Problem: fmt.Sprintf(format, args...)})
	}
	nested := func(field string, err error) {
		if err != nil {
			faults = append(faults, &OptionError{Field: field, Problem: err.Error(), Err: err})
		}
	}
	switch {
	case o.Service == "":
		fault("Service", "is empty: give the logical name of this program, such as %q", "checkout")
	case !validName(o.Service):
		fault("Service", "is %q: want lower-case letters, digits, - and _, 63 at most", o.Service)
	}
	if o.Zone != "" && o.Region == "" {
		fault("Zone", "is %q without a Region: a zone lies in a region, give both", o.Zone)
	}
	if o.Replica < 0 {
		fault("Replica", "is %d: want 1 or more, or 0 if it is not known", o.Replica)
	}
	if o.Discovery != nil && o.Consul != (ConsulOptions{}) && !o.TLS.Consul {
		fault("Consul", "is set together with Discovery, which replaces it: choose one")
	}
	o.TLS.validate(fault)
	if s, ok := o.Discovery.(interface{ Validate() error }); ok {
		nested("Discovery", s.Validate())
	}
	o.Admin.validate(fault)
	builtin, defaults := policy.Layer{Service: policy.Default()}, policy.Layer{Service: o.Defaults}
	nested("Defaults", policy.Merge(builtin, defaults).Validate())
	o.Server.Access.validate(o.TLS, fault, nested)
	nested("Server", policy.Merge(builtin, defaults, policy.Layer{Service: policy.Service{Inbound: o.Server.Inbound}}).Validate())
	for service, p := range o.Pinned {
		if !validName(service) {
			fault("Pinned", "names the service %q: want lower-case letters, digits, - and _, 63 at most", service)
		}
		nested("Pinned["+service+"]", policy.Merge(builtin, defaults, policy.Layer{Service: p}).Validate())
	}
	return errors.Join(faults...)
}

// OptionError is a field of [Options] that is wrong.
type OptionError struct {
	// Field is its path, such as "Pinned[payments]".
	Field string
	// Problem says what is wrong with it, and what to do.
	Problem string
	// Err is the cause, if another room has found the fault.
	Err error
}

// Error names the field and the problem.
func (e *OptionError) Error() string { return fmt.Sprintf("option %s %s", e.Field, e.Problem) }

// Unwrap returns the cause.
func (e *OptionError) Unwrap() error { return e.Err }

// validName says whether s can be the name of a service: a DNS label.
func validName(s string) bool {
	odd := func(r rune) bool { return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' && r != '_' }
	return s != "" && len(s) <= 63 && s[0] != '-' && s[len(s)-1] != '-' && !strings.ContainsFunc(s, odd)
}
