package policy

// Ejection says when an instance that fails more than its siblings is taken out
// of rotation for a while, after Envoy's outlier detection. It looks at the
// instances of a service together; the breaker looks at each alone and is what
// works by default.
type Ejection struct {
	// Failures is how many failures in a row eject an instance, at most
	// 1000000. -1 means that none do.
	// Default: 5. Example: 10.
	Failures int `json:"failures,omitzero"`
	// Enforced is the chance in percent, above 0 and at most 100, that an
	// instance with that many failures is really ejected. -1 is never.
	// Default: 100. Example: 50.
	Enforced int `json:"enforced,omitzero"`
	// Interval is how often instances are looked at. It can not be off.
	// Default: 10s. Example: "2s".
	Interval Duration `json:"interval,omitzero"`
	// Base is how long an instance is out the first time; each further time
	// adds as much again. "off" switches ejection off.
	// Default: off. Example: "30s".
	Base Duration `json:"base,omitzero"`
	// Max is the longest that an instance is out.
	// Default: 5m0s. Example: "1m".
	Max Duration `json:"max,omitzero"`
	// MaxPercent is how much of a service may be out at once, 1 to 100, though
	// always at least one instance. -1 means none.
	// Default: 10. Example: 50.
	MaxPercent int `json:"maxPercent,omitzero"`
}

// Off says whether no instance is ever ejected.
func (e Ejection) Off() bool {
	return e.Base < 0 || e.MaxPercent < 0 || e.Failures < 0 || e.Enforced < 0
}

func (e Ejection) check(c *checker) {
	c.in("ejection", func(c *checker) {
		c.thatf(e.Failures <= maxCount, "failures", "%d is too large: must be 1 to %d, or -1 for off", e.Failures, maxCount)
		c.thatf(e.Enforced <= 100, "enforced", "%d is too large: must be 1 to 100, or -1 for never", e.Enforced)
		c.thatf(e.Interval >= 0, "interval", "can not be off: give a duration above zero, or switch ejection.base off")
		c.thatf(e.Max >= 0, "max", "can not be off: give a duration above zero")
		c.thatf(e.MaxPercent <= 100, "maxPercent", "%d is too large: must be 1 to 100, or -1 for none", e.MaxPercent)
		if e.Base > 0 && e.Max > 0 {
			c.thatf(e.Base <= e.Max, "base", "%s is too long: must not be above %s, which is %s", e.Base, c.name("max"), e.Max)
		}
	})
}
