package tlsutil

import (
	"errors"
	"fmt"
)

// Authority is what a certificate authority says of itself at one time.
type Authority struct {
	// Roots are all whom it wants trusted, those on their way out included.
	// Required.
	Roots *Roots
	// Domain is the trust domain of the certificates it issues; Roots has it.
	// Required.
	Domain string
	// Active names the root that it signs with, in its own words. With another one
	// certificates are issued anew. "" if it does not say.
	Active string
}

// Validate reports all faults with the names of their fields.
func (a Authority) Validate() error {
	var faults []error
	if a.Domain == "" {
		faults = append(faults, fmt.Errorf("%s: is empty: name the trust domain", "Domain"))
	}
	if a.Roots == nil {
		faults = append(faults, fmt.Errorf("%s: there are none", "Roots"))
	} else if _, ok := a.Roots.pools[a.Domain]; !ok && a.Domain != "" {
		faults = append(faults, fmt.Errorf("Roots: they are for %q, not for %q", a.Roots.Domains(), a.Domain))
	}
	return errors.Join(faults...)
}

// equal says whether there is nothing new in b.
func (a Authority) equal(b Authority) bool {
	return a.Domain == b.Domain && a.Active == b.Active && a.Roots != nil && b.Roots != nil && a.Roots.sum == b.Roots.sum
}
