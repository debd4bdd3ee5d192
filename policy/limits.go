package policy

// Limits bounds what one process does to a service at once. What is too much is
// refused at once rather than sent.
type Limits struct {
	// Connections bounds the connections to all instances together.
	// Default: off. Example: 1024.
	Connections Limit `json:"connections,omitzero"`
	// Pending bounds the calls that wait for a connection.
	// Default: off. Example: 64.
	Pending Limit `json:"pending,omitzero"`
	// Concurrency bounds the calls under way.
	// Default: off. Example: 200.
	Concurrency Limit    `json:"concurrency,omitzero"`
	Bulkhead    Bulkhead `json:"bulkhead,omitzero"`
	Rate        Rate     `json:"rate,omitzero"`
	Adaptive    Adaptive `json:"adaptive,omitzero"`
}

// Bulkhead bounds how many calls are under way for each key, so that one of many
// can not take what is there for all. Who finds no place may stand in line.
type Bulkhead struct {
	// Max is how many calls a key may have under way.
	// Default: off. Example: 20.
	Max Limit `json:"max,omitzero"`
	// Queue is how many more may wait for a place.
	// Default: none. Example: 50.
	Queue Limit `json:"queue,omitzero"`
	// Wait is how long a call waits for a place at most; "off" is not at all.
	// Default: 100ms. Example: "1s".
	Wait Duration `json:"wait,omitzero"`
	// By lists what makes a key, as that of rate does. An empty list has one
	// bulkhead for all.
	// Default: []. Example: ["x-tenant"].
	By []string `json:"by,omitzero"`
}

// Rate bounds how many calls begin in a second: a bucket that holds burst calls
// and gets perSecond new ones. Retries and hedges are no new calls.
type Rate struct {
	// PerSecond is how many calls a second may begin, above 0 and at most
	// 1000000. -1 is any number.
	// Default: -1. Example: 500.
	PerSecond float64 `json:"perSecond,omitzero"`
	// Burst is how many may begin at once after a rest. -1 is what a second
	// brings, and at least 1.
	// Default: -1. Example: 50.
	Burst int `json:"burst,omitzero"`
	// Wait is how long a call waits for its turn at most; "off" refuses it at
	// once.
	// Default: off. Example: "100ms".
	Wait Duration `json:"wait,omitzero"`
	// By lists headers, over gRPC metadata, whose values together make a key: each
	// key has the rate for itself. The 10000 that were used last are remembered.
	// ":affinity" is what call.Options.Affinity says, ":priority" how much the call
	// matters.
	// An empty list has one rate for all. Let it be names that this program sets
	// itself, such as a tenant: whoever makes up keys makes up limits.
	// Default: []. Example: ["x-tenant"].
	By []string `json:"by,omitzero"`
}

// Adaptive finds out by itself how many calls the service can carry at once, by
// how much slower it answers than without load, and refuses the rest, the least
// important first: what call.Options.Priority says, or the header
// innermesh-priority. That is critical, default, degraded or background. In
// limits, gRPC streams are not concerned; in inbound, they are let in as others
// and then take no part.
type Adaptive struct {
	// Max is the most that it lets go at once, at least min. "off" is not to
	// look at all.
	// Default: off. Example: 1000.
	Max Limit `json:"max,omitzero"`
	// Min is the least that it lets go at once.
	// Default: 4. Example: 10.
	Min int `json:"min,omitzero"`
	// Tolerance is by how much answers may be slower than without load before
	// fewer are let go: 0.35 is by 35 %.
	// Default: 0.35. Example: 0.5.
	Tolerance float64 `json:"tolerance,omitzero"`
	// Interval is how often it is measured how quick answers are without load;
	// meanwhile only a few calls are let go at once.
	// Default: 1m0s. Example: "30s".
	Interval Duration `json:"interval,omitzero"`
}

const (
	maxRate  = 1_000_000
	maxKeyed = 10 // headers
)

func (r Rate) check(c *checker) {
	c.in("rate", func(c *checker) {
		checkRate(c, r.PerSecond, r.Burst)
		c.by(r.By)
	})
}

func (b Bulkhead) check(c *checker) {
	c.in("bulkhead", func(c *checker) {
		c.limit("max", b.Max)
		c.limit("queue", b.Queue)
		c.by(b.By)
	})
}

// The keys of a limit that no header holds.
const (
	ByAffinity = ":affinity"
	ByPriority = ":priority"
)

func (c *checker) by(names []string) {
	c.thatf(len(names) <= maxKeyed, "by", "%d are too many: must be at most %d", len(names), maxKeyed)
	for i, name := range names {
		c.thatf(headerName(name) || name == ByAffinity || name == ByPriority, element("by", i),
			"%s can not be the name of a header", quote(name))
	}
}

func (a Adaptive) check(c *checker) {
	c.in("adaptive", func(c *checker) {
		c.thatf(a.Max >= NoLimit && a.Max <= maxCount, "max", `%v is out of range: must be 1 to %d, or "off"`, a.Max, maxCount)
		c.count("min", a.Min, maxCount)
		if most, bounded := a.Max.Bound(); bounded && a.Min > 0 {
			c.thatf(a.Min <= most, "min", "%d is too large: must not be above %s, which is %d", a.Min, c.name("max"), most)
		}
		c.thatf(a.Tolerance == 0 || a.Tolerance > 0 && a.Tolerance <= 10, "tolerance",
			"%v is out of range: must be above 0 and at most 10", a.Tolerance)
		c.thatf(a.Interval == 0 || a.Interval >= seconds(1), "interval", "%s is too short: must be at least 1s", a.Interval)
	})
}

func (l Limits) check(c *checker) {
	c.in("limits", func(c *checker) {
		c.limit("connections", l.Connections)
		c.limit("pending", l.Pending)
		c.limit("concurrency", l.Concurrency)
		l.Bulkhead.check(c)
		l.Rate.check(c)
		l.Adaptive.check(c)
	})
}
