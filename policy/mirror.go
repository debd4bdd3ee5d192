package policy

import "math"

// Mirror sends copies of calls to another target too, to see how a new version
// bears real traffic. The caller hears nothing of them: a copy is sent once, in
// the background, on its own time, and its answer is thrown away.
//
// Copied are HTTP requests and gRPC calls with one request and one answer;
// streams and upgraded connections are not. A request without a body, and a gRPC
// call, is copied when it is sent; a request's body is copied as it is sent, so
// that its copy follows when the call is over. What must be left out is counted
// in the metric innermesh.client.mirrored beside what was sent.
//
// A copy has the header innermesh-mirrored, over gRPC the metadata, an idempotency
// key of its own where the call has one, and the changes that the route makes.
// What is called to serve a copy is marked too, and copied no further.
type Mirror struct {
	// Service is the logical name that copies go to.
	// Default: the service that was called. Example: "stock-next".
	Service string `json:"service,omitzero"`
	// Subset names one of the subsets that this policy defines. For subsets of
	// another service say filter instead.
	// Default: all instances. Example: "v2".
	Subset string `json:"subset,omitzero"`
	// Filter chooses instances by an expression in Consul's filter language.
	// Default: all instances. Example: "Service.Meta.version == v2".
	Filter string `json:"filter,omitzero"`
	// OnlyPassing leaves out instances in the warning state.
	// Default: false. Example: true.
	OnlyPassing bool `json:"onlyPassing,omitzero"`
	// Datacenter is where the instances are.
	// Default: our own. Example: "dc2".
	Datacenter string `json:"datacenter,omitzero"`
	// Percent is how many of a hundred calls are copied, down to hundredths.
	// Default: 100. Example: 2.5.
	Percent float64 `json:"percent,omitzero"`
	// MaxBytes is how long a body, or a gRPC message, may be to be copied;
	// 16777216 at most. Active copies of this size may be in memory at once.
	// Default: 65536. Example: 1048576.
	MaxBytes int `json:"maxBytes,omitzero"`
	// Active is how many copies may be under way at once, 10000 at most. Those
	// beyond it are not sent.
	// Default: 100. Example: 20.
	Active int `json:"active,omitzero"`
	// Timeout is the time of a copy, its answer's body included.
	// Default: 5s. Example: "500ms".
	Timeout Duration `json:"timeout,omitzero"`
}

const (
	maxMirrors      = 5
	maxMirrorBytes  = 16 << 20
	maxMirrorActive = 10_000

	defaultMirrorBytes  = 64 << 10
	defaultMirrorActive = 100
)

// WithDefaults returns the mirror with what it does not say.
func (m Mirror) WithDefaults() Mirror {
	if m.Percent == 0 {
		m.Percent = 100
	}
	if m.MaxBytes == 0 {
		m.MaxBytes = defaultMirrorBytes
	}
	if m.Active == 0 {
		m.Active = defaultMirrorActive
	}
	if m.Timeout == 0 {
		m.Timeout = seconds(5)
	}
	return m
}

// Target is where copies go.
func (m Mirror) Target() Target {
	return Target{Service: m.Service, Subset: m.Subset, Filter: m.Filter, OnlyPassing: m.OnlyPassing, Datacenter: m.Datacenter}
}

// Hundredths is the share in hundredths of a percent.
func (m Mirror) Hundredths() int { return Leg{Weight: m.WithDefaults().Percent}.Hundredths() }

// checkMirrors looks at all mirrors of a service or route; known says whether
// the subsets are, and not in another document.
func checkMirrors(c *checker, all []Mirror, subsets map[string]Subset, known bool) {
	c.thatf(len(all) <= maxMirrors, "mirror", "%d are too many: must be at most %d", len(all), maxMirrors)
	for i, m := range all {
		c.in(element("mirror", i), func(c *checker) { m.check(c, subsets, known) })
	}
}

func (m Mirror) check(c *checker, subsets map[string]Subset, known bool) {
	c.thatf(m.Service != "" || m.Subset != "" || m.Filter != "" || m.Datacenter != "", "",
		"needs to say where copies go: a service, subset, filter or datacenter")
	t := m.Target()
	if !known && m.Service == "" {
		t.Subset = ""
	}
	t.checkSelf(c, subsets)
	c.thatf(m.Percent == 0 && !math.Signbit(m.Percent) || m.Percent >= 0.01 && m.Percent <= 100, "percent",
		"%v is out of range: must be 0.01 to 100", m.Percent)
	c.count("maxBytes", m.MaxBytes, maxMirrorBytes)
	c.count("active", m.Active, maxMirrorActive)
	c.thatf(m.Timeout >= 0, "timeout", "can not be off: give a duration above zero")
}
