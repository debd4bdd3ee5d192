package policy

// Inbound says how much the service's own program takes in, where it serves with
// the mesh's middleware; its callers do not look at it. What is too much is turned
// away at once, the least important first: with 503, 429 or RESOURCE_EXHAUSTED,
// and when to come again.
type Inbound struct {
	// Concurrency bounds the calls that are served at once, streams included. Of
	// priority background as many as half of it are, of degraded four fifths.
	// Default: off. Example: 200.
	Concurrency Limit `json:"concurrency,omitzero"`
	// Queue is how many more may wait for a place. Calls of priority critical have
	// a line of their own, as long as the other, which goes first.
	// Default: none. Example: 50.
	Queue Limit `json:"queue,omitzero"`
	// Wait is how long a call waits for a place at most. It can not be off.
	// Default: 100ms. Example: "1s".
	Wait     Duration    `json:"wait,omitzero"`
	Rate     InboundRate `json:"rate,omitzero"`
	Adaptive Adaptive    `json:"adaptive,omitzero"`
	// Shares bounds what one caller, one tenant or one priority takes of all, 10
	// at most: a call must fit into all that are about it. The list replaces that
	// of the layer below.
	// Default: []. Example: [{"caller": true, "concurrency": 20}].
	Shares []Share `json:"shares,omitzero"`
	// Least is how much time a caller must have left for its call to be begun;
	// who says that it has less is refused at once. "off" begins all.
	// Default: 1ms. Example: "20ms".
	Least Duration `json:"least,omitzero"`
}

// InboundRate bounds how many calls begin in a second: a bucket that holds burst
// calls and gets perSecond new ones. Each attempt of a caller counts.
type InboundRate struct {
	// PerSecond is how many calls a second may begin, above 0 and at most
	// 1000000. -1 is any number.
	// Default: -1. Example: 500.
	PerSecond float64 `json:"perSecond,omitzero"`
	// Burst is how many may begin at once after a rest. -1 is what a second
	// brings, and at least 1.
	// Default: -1. Example: 50.
	Burst int `json:"burst,omitzero"`
}

// Share bounds what each of many takes. Exactly one of caller, header and
// priority must be said. The 10000 callers or values that were seen last are
// remembered.
type Share struct {
	// Caller has a share for each caller: by the name in its certificate, and for
	// those without by its address.
	// Default: false. Example: true.
	Caller bool `json:"caller,omitzero"`
	// Header has a share for each value of a header, over gRPC of metadata; calls
	// without it have no share to keep to. Let it be one that a caller can not
	// make up.
	// Default: none. Example: "x-tenant".
	Header string `json:"header,omitzero"`
	// Priority has a share for all calls of a priority together: critical,
	// default, degraded or background.
	// Default: none. Example: "background".
	Priority string `json:"priority,omitzero"`
	// Concurrency bounds the calls that are served at once.
	// Default: off. Example: 20.
	Concurrency Limit `json:"concurrency,omitzero"`
	// PerSecond is how many calls a second may begin, above 0 and at most
	// 1000000.
	// Default: any number. Example: 100.
	PerSecond float64 `json:"perSecond,omitzero"`
	// Burst is how many may begin at once after a rest.
	// Default: what a second brings. Example: 10.
	Burst int `json:"burst,omitzero"`
}

const maxShares = 10

func (i Inbound) check(c *checker) {
	c.in("inbound", func(c *checker) {
		c.limit("concurrency", i.Concurrency)
		c.limit("queue", i.Queue)
		c.thatf(i.Wait >= 0, "wait", "can not be off: give a duration above zero, or let queue be none")
		c.in("rate", func(c *checker) { checkRate(c, i.Rate.PerSecond, i.Rate.Burst) })
		i.Adaptive.check(c)
		c.thatf(len(i.Shares) <= maxShares, "shares", "%d are too many: must be at most %d", len(i.Shares), maxShares)
		for n, s := range i.Shares {
			c.in(element("shares", n), s.check)
		}
	})
}

func (s Share) check(c *checker) {
	c.one(map[string]bool{"caller": s.Caller, "header": s.Header != "", "priority": s.Priority != ""}, true)
	c.thatf(s.Header == "" || headerName(s.Header), "header", "%s can not be the name of a header", quote(s.Header))
	c.oneOf("priority", s.Priority, "critical", "default", "degraded", "background")
	c.limit("concurrency", s.Concurrency)
	checkRate(c, s.PerSecond, s.Burst)
	_, bounded := s.Concurrency.Bound()
	c.thatf(bounded || s.PerSecond > 0, "", "bounds nothing: say concurrency or perSecond")
	c.thatf(s.Burst == 0 || s.PerSecond > 0, "burst", "needs perSecond: say it too")
}

func checkRate(c *checker, perSecond float64, burst int) {
	c.thatf(within(perSecond, maxRate), "perSecond",
		"%v is out of range: must be above 0 and at most %d, or -1 for off", perSecond, maxRate)
	c.thatf(burst <= maxRate, "burst", "%d is out of range: must be 1 to %d, or -1 for what a second brings", burst, maxRate)
}
