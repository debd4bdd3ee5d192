package mesh

import (
	"context"
	"errors"

	"github.com/innermesh/innermesh/inbound"
	"github.com/innermesh/innermesh/inbound/audit"
	"github.com/innermesh/innermesh/inbound/caller"
	"github.com/innermesh/innermesh/inbound/intention"
)

// AccessOptions say who may call this program, by Consul's intentions, and what
// is recorded of it. See docs/access.md.
type AccessOptions struct {
	// Mode says what becomes of refusals. Default: [AccessEnforce] with
	// [TLSOptions].Consul, else [AccessOff].
	Mode AccessMode
	// Default is what holds where no intention does: "allow" or "deny". Default:
	// Consul's own default, which is learned, and "deny" as long as it is not.
	Default string
	// OpenWithoutRules lets everybody of this trust domain in as long as nothing
	// is known of the intentions, neither from Consul nor from SnapshotDir.
	// Default: false, nobody.
	OpenWithoutRules bool
	// Anonymous lets those in who show no certificate: the intentions are not
	// about them. Default: only with [TLSPermissive].
	Anonymous bool

	// UnescapeSlashes makes slashes of %2F and %5C in paths before rules and
	// handlers see them. Default: such a path is refused where rules look at paths.
	UnescapeSlashes bool
	// MergeSlashes makes one slash of several. Default: false.
	MergeSlashes bool

	// Forwarders are services that may say, in x-forwarded-client-cert, for whom
	// they call, such as an ingress: that one is then the caller. Of everybody
	// else the header is taken out. Default: nobody.
	Forwarders []string

	// Audit keeps a record of every decision, if it has a Handler. Default: none.
	Audit audit.Options
}

// AccessMode is what becomes of refusals.
type AccessMode string

// The modes there are.
const (
	// AccessEnforce turns callers away whom the intentions do not allow.
	AccessEnforce AccessMode = "enforce"
	// AccessDryRun lets them in, and counts and records what it would have done.
	AccessDryRun AccessMode = "dry run"
	// AccessOff looks at no intentions.
	AccessOff AccessMode = "off"
)

func (o AccessOptions) validate(security TLSOptions, fault func(field, format string, args ...any), nested func(string, error)) {
	secured := (security.Source != nil || security.Consul || security.DevCA != nil) && security.Mode != TLSOff
	switch o.Mode {
	case "", AccessOff:
	case AccessEnforce, AccessDryRun:
		if !secured {
			fault("Server.Access.Mode", "is %q, but nobody can show who it is: set TLS", o.Mode)
		}
	default:
		fault("Server.Access.Mode", "is %q: want %q, %q or %q", o.Mode, AccessEnforce, AccessDryRun, AccessOff)
	}
	if o.Default != "" && o.Default != "allow" && o.Default != "deny" {
		fault("Server.Access.Default", "is %q: want \"allow\" or \"deny\"", o.Default)
	}
	nested("Server.Access", caller.Options{Forwarders: o.Forwarders}.Validate())
	if o.Audit.Handler != nil {
		nested("Server.Access.Audit", o.Audit.Validate())
	}
}

// mode is the one in force.
func (o AccessOptions) mode(security TLSOptions) AccessMode {
	switch {
	case security.Mode == TLSOff:
		return AccessOff
	case o.Mode != "":
		return o.Mode
	case security.Consul:
		return AccessEnforce
	default:
		return AccessOff
	}
}

func (o AccessOptions) paths() (p intention.Paths) {
	if p.MergeSlashes = o.MergeSlashes; o.UnescapeSlashes {
		p.EscapedSlashes = intention.UnescapeSlashes
	}
	return p
}

// Caller is who calls, as far as it is proven: a service with its namespace,
// partition, datacenter and trust domain, and the SPIFFE ID.
type Caller = caller.Caller

// CallerFromContext returns who has made the call that is being served with that
// context. ok is false outside of handlers, and for somebody unknown: one who has
// shown no certificate, or who was not asked for one.
func CallerFromContext(ctx context.Context) (c Caller, ok bool) {
	a := inbound.ArrivalFrom(ctx)
	if a == nil || a.Peer.ID.IsZero() {
		return Caller{}, false
	}
	return of(a.Peer), true
}

// ClaimsFromContext returns what the JSON web token says that has let the call
// in, where an intention has asked for one; nil if none was needed. Read only.
func ClaimsFromContext(ctx context.Context) map[string]any {
	if a := inbound.ArrivalFrom(ctx); a != nil {
		return a.Peer.Claims
	}
	return nil
}

func of(p inbound.Peer) Caller { return Caller{ServiceID: p.Service, ID: p.ID, Via: p.Via} }

// openAccess puts the gate before the path in.
func (m *Mesh) openAccess(to *inbound.Options) error {
	o := m.o.Server.Access
	mode := o.mode(m.o.TLS)
	if m.identity == nil {
		mode = AccessOff
	}
	if m.identity == nil && o.Audit.Handler == nil {
		return nil
	}
	g := &gate{m: m, o: o, mode: mode, anonymous: o.Anonymous || m.o.TLS.Mode == TLSPermissive}
	var err error
	if g.identifier, err = caller.New(caller.Options{Source: m.identity, Forwarders: o.Forwarders}); err != nil {
		return &OptionError{Field: "Server.Access", Problem: err.Error(), Err: err}
	}
	if mode != AccessOff {
		if _, err := m.consulClient(); err != nil {
			return err
		}
	}
	if o.Audit.Handler != nil {
		if o.Audit.Logger == nil {
			o.Audit.Logger = m.log
		}
		if g.audit, err = audit.New(o.Audit); err != nil {
			return &OptionError{Field: "Server.Access.Audit", Problem: err.Error(), Err: err}
		}
		m.onClose(g.audit.Close)
	}
	stop, err := m.tel.ObserveAccess(g.observe)
	if err != nil {
		return &OptionError{Field: "Telemetry", Problem: err.Error(), Err: err}
	}
	m.onClose(func(context.Context) error { return stop() })
	m.pathIn.gate = g
	to.Identifier, to.Authorizer = g, g
	return nil
}

// errNotOpen is why everybody is refused whose rules nobody follows.
var errNotOpen = errors.New("the intentions are not followed: the mesh is closed")
