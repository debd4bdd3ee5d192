package policy

// Timeout bounds how long a call may wait for its answer. The caller's own
// deadline always wins when it is earlier.
type Timeout struct {
	// Total bounds a call until its answer begins: all attempts and the waits
	// between them. Over HTTP the answer begins with the response headers; the
	// reading of the body is bounded by the caller's context alone, so that
	// event streams may last. A unary gRPC call is bounded until it ends, a
	// gRPC stream not at all. "off" leaves the time to the caller's context.
	// Default: 15s. Example: "2s".
	Total Duration `json:"total,omitzero"`
	// PerTry bounds one attempt in the same way, so that time is left for
	// another; of a gRPC stream, the opening. It must be shorter than total.
	// "off" gives each attempt all the time that is left. An attempt that is
	// given up for its caller has less time than the policy's does not count
	// against the instance.
	// Default: half of total; where the caller has less time and the call can be
	// repeated, all of that time but what another attempt usually takes; off if
	// total is off or attempts is 1. Example: "800ms".
	PerTry Duration `json:"perTry,omitzero"`
	// Connect bounds making a connection, the TLS handshake included. It can
	// not be off. Raise it towards 5s for instances in another region.
	// Default: 1s. Example: "3s".
	Connect Duration `json:"connect,omitzero"`
	// Idle bounds the silence of an answer that is being read, a body or a
	// stream: if nothing comes or goes for this long it is ended with an error,
	// over gRPC DEADLINE_EXCEEDED. An answer that nobody reads on, and a unary
	// gRPC call, are not concerned. "off" lets it be silent for ever.
	// Default: 5m0s. Example: "1m".
	Idle Duration `json:"idle,omitzero"`
	// Tell says whether an HTTP request tells how many milliseconds its answer
	// is waited for, in the header x-envoy-expected-rq-timeout-ms: "remaining"
	// does, at the price of a copy of the headers; "nothing" does not. gRPC
	// always tells.
	// Default: nothing. Example: "remaining".
	Tell string `json:"tell,omitzero"`
}

// The values of [Timeout].Tell.
const (
	TellNothing   = "nothing"
	TellRemaining = "remaining"
)

func (t Timeout) check(c *checker) {
	if t.Total > 0 && t.PerTry > 0 {
		c.thatf(t.PerTry < t.Total, "timeout.perTry", "%s leaves no time for another attempt: must be less than %s, which is %s",
			t.PerTry, c.name("timeout.total"), t.Total)
	}
	c.thatf(t.Connect >= 0, "timeout.connect", "can not be off: give a duration above zero")
	c.oneOf("timeout.tell", t.Tell, TellNothing, TellRemaining)
}

// perTry is the time of one attempt when nobody set it, and why it is that.
func (s Service) perTry() (d Duration, why string) {
	switch {
	case s.Timeout.Total == 0:
		return 0, ""
	case s.Timeout.Total < 0:
		return Off, "off like timeout.total"
	case s.Retry.Attempts == 1:
		return Off, "off as retry.attempts is 1"
	case s.Timeout.Total < 2:
		return Off, "off as timeout.total is too short to be split"
	default:
		return s.Timeout.Total / 2, halfOfTotal
	}
}

// halfOfTotal is where timeout.perTry comes from if nobody has set it.
const halfOfTotal = "half of timeout.total"
