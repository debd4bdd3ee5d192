package policy

import (
	"strings"

	"github.com/innermesh/innermesh/retry"
)

// Retry says when a failed attempt is followed by another one. Whether that is
// harmless is never configured away: an attempt that may have been carried out
// is repeated only if the call is idempotent.
type Retry struct {
	// Attempts counts all tries of a call, the first one included: 1 means no
	// retry, 100 is the most.
	// Default: 3. Example: 2.
	Attempts int `json:"attempts,omitzero"`
	// On lists what is tried again, in Envoy's words: "5xx", "gateway-error",
	// "reset", "connect-failure", "refused-stream", "retriable-4xx",
	// "envoy-ratelimited", and of gRPC "cancelled", "deadline-exceeded",
	// "internal", "resource-exhausted" and "unavailable". The list replaces
	// that of the layer below; an empty one says that nothing is.
	// Default: ["gateway-error","reset","connect-failure","refused-stream","unavailable"]. Example: ["5xx"].
	On []string `json:"on,omitzero"`
	// Statuses lists HTTP statuses, 100 to 599, that are tried again beside
	// what on says. The list replaces that of the layer below.
	// Default: []. Example: [502, 503].
	Statuses []int   `json:"statuses,omitzero"`
	Backoff  Backoff `json:"backoff,omitzero"`
	Budget   Budget  `json:"budget,omitzero"`
	// Nested says whether a call is tried again that is made to serve one which
	// is itself a further attempt: "never", so that only one layer of a graph of
	// calls retries, or "always". Further attempts say that they are in the
	// header innermesh-attempt. What was never sent is tried elsewhere either way.
	// Default: never. Example: "always".
	Nested string `json:"nested,omitzero"`
	// Methods lists the gRPC methods that are idempotent, each as
	// "/package.Service/Method" or, for all of a service,
	// "/package.Service/*", 1000 at most. The list replaces that of the layer
	// below; an empty one says that there is none. HTTP needs no list: its
	// methods tell.
	// Default: []. Example: ["/stock.v1.Stock/Get", "/prices.v1.Prices/*"].
	Methods []string `json:"methods,omitzero"`
	// Key says which calls carry an idempotency key, so that they are safe to
	// repeat: "given", those that their callers have given one, or "minted", with
	// them all that are not idempotent by their method: those get a key of their
	// own, the same for all attempts. Say "minted" only of a service that acts
	// once on a key, as package idempotency makes it.
	// Default: given. Example: "minted".
	Key string `json:"key,omitzero"`
	// ReplayBytes is how much of a request body is kept in memory to be sent
	// again when the request can not rewind it; a longer body is not sent twice.
	// -1 keeps nothing; 16777216 (16 MiB) is the most.
	// Default: 65536. Example: 262144.
	ReplayBytes int `json:"replayBytes,omitzero"`
}

// Backoff is the wait before another attempt: a random time between zero and
// base, the upper bound doubled with each further attempt until it is max
// ("full jitter").
type Backoff struct {
	// Base is the longest wait before the second attempt. "off" means no wait
	// at all. It must not be above max.
	// Default: 25ms. Example: "50ms".
	Base Duration `json:"base,omitzero"`
	// Max is the longest wait before any attempt. It can not be off.
	// Default: 250ms. Example: "1s".
	Max Duration `json:"max,omitzero"`
}

// Budget bounds all retries towards a service together, so that retries do
// not bury a service that is already in trouble. When it is spent, calls fail
// with their first error; first attempts are never held back.
type Budget struct {
	// Ratio is how many retries are allowed for each call, above 0 and at most
	// 1, counted over the last 10 seconds. -1 switches the budget off.
	// Default: 0.2. Example: 0.1.
	Ratio float64 `json:"ratio,omitzero"`
	// Floor is how many retries a second are allowed however few the calls
	// are, at most 1000. Each process has its own, so the floors of a large
	// fleet add up. -1 means none.
	// Default: 1. Example: 0.5.
	Floor float64 `json:"floor,omitzero"`
}

// The values of [Retry].Nested.
const (
	Never  = "never"
	Always = "always"
)

// OnConnectFailure is the condition that Consul has a field of its own for.
const OnConnectFailure = string(retry.OnConnectFailure)

func conditions(list []retry.Condition) []string {
	names := make([]string, len(list))
	for i, c := range list {
		names[i] = string(c)
	}
	return names
}

// The values of [Retry].Key.
const (
	KeyGiven  = "given"
	KeyMinted = "minted"
)

const (
	maxAttempts = 100 // as many as anybody has asked a sidecar for
	maxStatuses = 500
	maxMethods  = 1000 // each gRPC call looks through them
	maxReplay   = 16 << 20
	maxFloor    = 1000
)

// Idempotent says whether Methods names this full gRPC method.
func (r Retry) Idempotent(method string) bool {
	for _, m := range r.Methods {
		if service, all := strings.CutSuffix(m, "*"); m == method || all && strings.HasPrefix(method, service) {
			return true
		}
	}
	return false
}

func (r Retry) check(c *checker) {
	c.count("retry.attempts", r.Attempts, maxAttempts)
	c.thatf(r.Backoff.Max >= 0, "retry.backoff.max",
		"can not be off: give a duration above zero, or switch retry.backoff.base off to retry at once")
	if r.Backoff.Base > 0 && r.Backoff.Max > 0 {
		c.thatf(r.Backoff.Base <= r.Backoff.Max, "retry.backoff.base", "%s is too long: must not be above %s, which is %s",
			r.Backoff.Base, c.name("retry.backoff.max"), r.Backoff.Max)
	}
	c.oneOf("retry.nested", r.Nested, Never, Always)
	c.ratio("retry.budget.ratio", r.Budget.Ratio)
	c.thatf(within(r.Budget.Floor, maxFloor), "retry.budget.floor",
		"%v is out of range: must be above 0 and at most %d retries a second, or -1 for none", r.Budget.Floor, maxFloor)
	for i, on := range r.On {
		c.oneOf(element("retry.on", i), on, conditions(retry.Conditions())...)
	}
	c.thatf(len(r.Statuses) <= maxStatuses, "retry.statuses", "%d are too many: must be at most %d", len(r.Statuses), maxStatuses)
	for i, s := range r.Statuses {
		c.thatf(s >= 100 && s <= 599, element("retry.statuses", i), "%d is not an HTTP status: must be 100 to 599", s)
	}
	c.thatf(len(r.Methods) <= maxMethods, "retry.methods",
		`%d are too many: must be at most %d; "/package.Service/*" stands for all of a service`, len(r.Methods), maxMethods)
	for i, m := range r.Methods {
		c.thatf(fullMethod(m), element("retry.methods", i),
			`%s is not a gRPC method: write "/package.Service/Method", or "/package.Service/*" for all of a service`, quote(m))
	}
	c.oneOf("retry.key", r.Key, KeyGiven, KeyMinted)
	c.thatf(r.ReplayBytes <= maxReplay, "retry.replayBytes", "%d is too large: must be at most %d, or -1 for none", r.ReplayBytes, maxReplay)
}

// fullMethod says whether s has the form "/service/method" or "/service/*".
func fullMethod(s string) bool {
	rest, rooted := strings.CutPrefix(s, "/")
	service, method, _ := strings.Cut(rest, "/")
	return rooted && plain(service) && (method == "*" || plain(method))
}

func plain(s string) bool {
	odd := func(r rune) bool { return r <= ' ' || r > '~' || r == '/' || r == '*' }
	return s != "" && !strings.ContainsFunc(s, odd)
}
