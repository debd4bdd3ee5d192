package intention

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/innermesh/innermesh/tlsutil"
)

// Options say how intentions are read.
type Options struct {
	// Service is the destination: the one who is called. Required.
	Service string
	// TrustDomain is that of the callers that intentions are about. Others are
	// refused: their names mean somebody else. Required.
	TrustDomain string
	// Default is the default policy. Default: Deny. Consul tells it to nobody who
	// may not read the agent's configuration, so it is said here.
	Default Action
	// WithoutRules is what happens until Consul was heard. Default: Deny.
	WithoutRules Action
	// DryRun has refusals told only.
	DryRun bool
	// Paths say how paths are made normal.
	Paths Paths
}

// Validate reports all faults with the names of their fields.
func (o Options) Validate() error {
	var faults []error
	for _, f := range []struct{ field, value string }{{"Service", o.Service}, {"TrustDomain", o.TrustDomain}} {
		if f.value == "" {
			faults = append(faults, fmt.Errorf("%s: is empty, and is required", f.field))
		}
	}
	if o.Paths.EscapedSlashes > UnescapeSlashes {
		faults = append(faults, fmt.Errorf("%s: %d: want RefuseSlashes, KeepSlashes or UnescapeSlashes",
			"Paths.EscapedSlashes", o.Paths.EscapedSlashes))
	}
	return errors.Join(faults...)
}

// Rules are the intentions of a service, ready for use. They are immutable and
// safe for concurrent use.
type Rules struct {
	o Options
	// by has the one rule that decides for a source, names and wildcards alike.
	by map[source]*rule
}

// source is a local service, or "*" for many.
type source struct{ partition, namespace, name string }

// Compile makes rules of intentions, in any order. The error joins all reasons to
// refuse them as a whole: an intention for another service, two for one source, a
// precedence that is not that of the names, a group of sources that can not be
// told apart. What is wrong within one intention makes that one refuse all it is
// for: see [Rules.Refused].
func Compile(list []Intention, o Options) (*Rules, error) {
	if err := o.Validate(); err != nil {
		return nil, fmt.Errorf("intentions: %w", err)
	}
	r := &Rules{o: o, by: make(map[source]*rule, len(list))}
	var faults []error
	type place struct {
		source
		peer string
		rank int
	}
	seen := make(map[place]bool, len(list))
	for _, i := range list {
		from := normal(i.SourcePartition, i.SourceNS, i.SourceName)
		at := place{from, i.SourcePeer, i.precedence()}
		err := check(&i, o.Service)
		if err == nil && seen[at] {
			err = errors.New("there are two of it")
		}
		if seen[at] = true; err != nil {
			faults = append(faults, fmt.Errorf("intention %s: %w", &i, err))
			continue
		}
		if i.SourcePeer != "" {
			continue // about callers of another trust domain, who are refused anyway
		}
		if before := r.by[from]; before == nil || before.Intention.precedence() < i.precedence() {
			r.by[from] = newRule(&i, o)
		}
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	return r, nil
}

// Refused says which intentions refuse all they are for, since they ask for what
// is not supported, and why; nil if none does.
func (r *Rules) Refused() error {
	var all []error
	for _, rule := range r.by {
		all = append(all, rule.refused())
	}
	all = slices.DeleteFunc(all, func(err error) bool { return err == nil })
	slices.SortFunc(all, func(a, b error) int { return cmp.Compare(a.Error(), b.Error()) })
	return errors.Join(all...)
}

// Providers are those whose tokens some rule asks for, sorted.
func (r *Rules) Providers() []string {
	names := make(map[string]bool)
	for _, rule := range r.by {
		rule.JWT.names(names)
		for n := range rule.permissions {
			rule.permissions[n].jwt.names(names)
		}
	}
	return slices.Sorted(maps.Keys(names))
}

// Decide says whether the caller may do what it asks.
func (r *Rules) Decide(caller tlsutil.ServiceID, req *Request) Decision {
	d, rule := r.find(caller)
	path, err := req.Path, error(nil)
	if !req.Literal {
		if path, err = r.o.Paths.Normal(req.Path); err != nil {
			path = req.Path
		}
	}
	d.Path = path
	switch {
	case rule == nil:
	case rule.broken != nil:
		d.Reason = NotSupported
	case len(rule.permissions) == 0:
		d.Allowed, d.Reason = rule.action == Allow, ByIntention
		rule.JWT.demand(&d, req)
	case err != nil && rule.paths:
		d.Reason = BadPath
	default:
		r.permitted(&d, rule, req)
		rule.JWT.demand(&d, req)
	}
	return d
}

// DecideConnection says whether the caller may have a connection on which no
// requests can be told apart.
func (r *Rules) DecideConnection(caller tlsutil.ServiceID) Decision {
	d, rule := r.find(caller)
	switch {
	case rule == nil:
	case rule.broken != nil:
		d.Reason = NotSupported
	case len(rule.permissions) > 0, rule.JWT != nil:
		d.Reason = NeedsRequest
	default:
		d.Allowed, d.Reason = rule.action == Allow, ByIntention
	}
	return d
}

// find returns the rule for a caller, or nil and what holds without one.
func (r *Rules) find(caller tlsutil.ServiceID) (Decision, *rule) {
	d := Decision{DryRun: r.o.DryRun}
	if caller.TrustDomain != r.o.TrustDomain || caller.Service == "" {
		d.Reason = Foreign
		return d, nil
	}
	from := normal(caller.Partition, caller.Namespace, caller.Service)
	best := r.by[from]
	for _, wide := range [...]source{{from.partition, from.namespace, anyone}, {from.partition, anyone, anyone}} {
		if other := r.by[wide]; other != nil && (best == nil || other.rank > best.rank) {
			best = other
		}
	}
	if best == nil {
		d.Allowed, d.Reason = r.o.Default == Allow, ByDefault
		return d, nil
	}
	d.Intention = best.Intention
	return d, best
}

// permitted finds the first permission that fits.
func (r *Rules) permitted(d *Decision, rule *rule, req *Request) {
	for n := range rule.permissions {
		p := &rule.permissions[n]
		if !p.fits(req, d.Path) {
			continue
		}
		d.Permission = n + 1
		d.Allowed, d.Reason = p.action == Allow, ByPermission
		p.jwt.demand(d, req)
		return
	}
	d.Allowed, d.Reason = r.o.Default == Allow, ByDefault
}

// check says why an intention can not be one of the service's.
func check(i *Intention, service string) error {
	switch {
	case i.SourceName == "" || i.DestinationName == "":
		return errors.New("it names no source or no destination")
	case i.DestinationName != service && i.DestinationName != anyone:
		return fmt.Errorf("it is not about %q", service)
	case i.SourceSamenessGroup != "":
		return errors.New("sameness groups are not supported")
	case i.SourceType != "" && i.SourceType != "consul":
		return fmt.Errorf("sources of type %q are not supported", i.SourceType)
	case i.SourcePartition == anyone || i.SourceNS == anyone && i.SourceName != anyone:
		return errors.New("the source's names are no pattern that Consul has")
	case i.Precedence != 0 && i.Precedence != i.precedence():
		return fmt.Errorf("the precedence of its names is not %d", i.Precedence)
	}
	return nil
}

func normal(partition, namespace, name string) source {
	if partition == defaultTenant {
		partition = ""
	}
	if namespace == "" {
		namespace = defaultTenant
	}
	return source{partition, namespace, name}
}
