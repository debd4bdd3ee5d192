package policy

// Hedge sends a call to a second instance before the first has answered, and
// takes the answer that comes first and is none of those that would be tried
// again. The others are given up at once. It is for calls that are idempotent
// and can be sent again from memory: unary gRPC calls, and HTTP requests without
// a body or with one that can be rewound. Each further attempt is paid for by
// retry.budget, and goes to an instance that the call has not been to, or is not
// made.
type Hedge struct {
	// After is how long an answer is waited for before another attempt is sent
	// beside it. With percentile it is what holds until enough is known.
	// Default: off. Example: "50ms".
	After Duration `json:"after,omitzero"`
	// Percentile has it be the time within which that many of a hundred answers
	// have come of late, at least 1ms; above 0 and below 100. 95 costs about 5 %
	// more attempts. -1 goes by after alone.
	// Default: -1. Example: 95.
	Percentile float64 `json:"percentile,omitzero"`
	// Attempts is how many attempts are under way at once at most, the first one
	// included; 5 at most. call.Options.Attempts bounds them, too.
	// Default: 2. Example: 3.
	Attempts int `json:"attempts,omitzero"`
}

// Off says whether nothing is hedged.
func (h Hedge) Off() bool { return h.After <= 0 && h.Percentile <= 0 || h.Attempts == 1 }

func (h Hedge) check(c *checker) {
	c.in("hedge", func(c *checker) {
		c.thatf(within(h.Percentile, 100) && h.Percentile != 100, "percentile",
			"%v is out of range: must be above 0 and below 100, or -1 for off", h.Percentile)
		c.count("attempts", h.Attempts, 5)
	})
}
