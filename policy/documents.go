package policy

import (
	"maps"
	"slices"
)

// Documents are the policies of several services together, as a file holds them.
type Documents struct {
	// Defaults is the policy for all services, below what is said for one.
	Defaults Service `json:"defaults,omitzero"`
	// Services holds the policies of single services by their logical names.
	Services map[string]Service `json:"services,omitzero"`
}

// DecodeDocuments reads {"defaults": {…}, "services": {"stock": {…}}}, in JSON or
// YAML and as strictly as [Decode] reads one policy: a mistake in one of them
// refuses all.
func DecodeDocuments(data []byte, source string) (Documents, error) {
	var d Documents
	if err := decode(data, source, &d, func(c *checker) { d.check(c) }); err != nil {
		return Documents{}, err
	}
	return d, nil
}

// Validate reports all mistakes at once, as [Service.Validate] does, with paths
// such as "services.stock.retry.attempts". Whether a policy goes with the layers
// below it is known only when they are merged.
func (d Documents) Validate() error {
	var c checker
	d.check(&c)
	return c.err()
}

func (d Documents) check(c *checker) {
	c.in("defaults", d.Defaults.check)
	for _, name := range slices.Sorted(maps.Keys(d.Services)) {
		at := member("services", name)
		c.thatf(name != "", at, "is no name of a service: give its logical name, or say it in defaults for all")
		c.in(at, d.Services[name].check)
	}
}
