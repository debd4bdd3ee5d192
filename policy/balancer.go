package policy

// The values of [Balancer].Policy.
const (
	P2C          = "p2c"
	PeakEWMA     = "peak_ewma"
	RoundRobin   = "round_robin"
	Random       = "random"
	LeastRequest = "least_request"
	RingHash     = "ring_hash"
	Maglev       = "maglev"
)

// Balancer says how an instance is chosen for each attempt. An instance that
// this call has tried before is left out as long as there is another.
type Balancer struct {
	// Policy is the algorithm: "p2c" draws two instances at random and takes
	// the one with fewer calls in flight, "least_request" draws several,
	// "peak_ewma" takes that of two which is expected to answer first,
	// "round_robin" takes them in turn, "random" any, "ring_hash" and "maglev"
	// always the same one for the same hash. All of them honour weights.
	// Default: peak_ewma. Example: "round_robin".
	Policy string `json:"policy,omitzero"`
	// Choices is how many instances least_request draws, 2 to 100.
	// Default: 2. Example: 3.
	Choices int `json:"choices,omitzero"`
	// Load says what peak_ewma goes by: "seen" is how long answers take and how
	// many are awaited here; "reported" is also how much of what it can carry an
	// instance tells it carries, in the header endpoint-load-metrics or the gRPC
	// trailer endpoint-load-metrics-bin of its answers: who carries half of it is
	// taken for twice as slow. Servers with limits of inbound tell it.
	// Default: seen. Example: "reported".
	Load string `json:"load,omitzero"`
	// RingSize is the least number of points on the ring of ring_hash, at most
	// 8388608.
	// Default: 1024. Example: 4096.
	RingSize int `json:"ringSize,omitzero"`
	// MaxRingSize bounds the ring however different the weights are, at most
	// 8388608.
	// Default: 8388608. Example: 65536.
	MaxRingSize int `json:"maxRingSize,omitzero"`
	// Hash says what of a call ring_hash and maglev hash: all that is found is
	// combined. A call of which nothing is found goes anywhere.
	// Default: []. Example: [{"header": "x-user"}].
	Hash []Hash `json:"hash,omitzero"`
	// PanicPercent is how much of a service stays in rotation whatever fails,
	// 1 to 100: breakers, ejection and slow start together never leave less of
	// its instances, for calls are better off with one that may fail than with
	// none, and the others must not be called to death. -1 lets all be taken
	// out, as a sidecar does.
	// Default: 50. Example: 30.
	PanicPercent int `json:"panicPercent,omitzero"`
	// Prefer says who comes first where it is known where the caller is:
	// "zone" instances in its zone, then those in its region, then all others;
	// "region" those in its region, then all others; "none" all alike. Farther
	// ones get as much as nearer ones can not carry: all stays near until fewer
	// than 1/1.4 of those near by are in rotation.
	// Default: zone. Example: "none".
	Prefer string `json:"prefer,omitzero"`
	// SubsetAbove is how many instances, at one distance, all clients know and
	// connect to; of more than that each client calls a part, always the same
	// one as long as no instance comes or goes. At most 1000000. -1 is never.
	// Algorithms that hash call all.
	// Default: 100. Example: 500.
	SubsetAbove int `json:"subsetAbove,omitzero"`
	// SubsetSize is how many instances that part has, 2 to 10000.
	// Default: 20. Example: 50.
	SubsetSize int `json:"subsetSize,omitzero"`
}

// The values of [Balancer].Prefer.
const (
	PreferZone   = "zone"
	PreferRegion = "region"
	PreferNone   = "none"
)

// The values of [Balancer].Load.
const (
	LoadSeen     = "seen"
	LoadReported = "reported"
)

// Hash is one thing of a call to hash. Exactly one of header, cookie, query,
// source and affinity must be said.
type Hash struct {
	// Header is the name of a header, or of gRPC metadata.
	// Default: none. Example: "x-user".
	Header string `json:"header,omitzero"`
	// Cookie is the name of a cookie.
	// Default: none. Example: "session".
	Cookie string `json:"cookie,omitzero"`
	// Query is the name of a query parameter.
	// Default: none. Example: "user".
	Query string `json:"query,omitzero"`
	// Source hashes who calls: this program on this machine, so that all of its
	// calls go the same way.
	// Default: false. Example: true.
	Source bool `json:"source,omitzero"`
	// Affinity hashes what the program has said that the call belongs to, see
	// call.Options.Affinity.
	// Default: false. Example: true.
	Affinity bool `json:"affinity,omitzero"`
	// CookieTTL makes up a cookie for calls that have none, which the response
	// sets for this long. "off" makes one that ends with the session.
	// Default: no cookie is made up. Example: "1h".
	CookieTTL Duration `json:"cookieTTL,omitzero"`
	// CookiePath is the path of a cookie that is made up.
	// Default: none. Example: "/".
	CookiePath string `json:"cookiePath,omitzero"`
	// Terminal ends the list here if there was something to hash.
	// Default: false. Example: true.
	Terminal bool `json:"terminal,omitzero"`
}

const (
	maxRing   = 8 << 20 // Envoy's
	maxSubset = 10_000
)

func (b Balancer) check(c *checker) {
	c.in("balancer", func(c *checker) {
		c.oneOf("policy", b.Policy, P2C, PeakEWMA, RoundRobin, Random, LeastRequest, RingHash, Maglev)
		c.oneOf("load", b.Load, LoadSeen, LoadReported)
		c.thatf(b.Choices == 0 || b.Choices >= 2 && b.Choices <= 100, "choices", "%d is out of range: must be 2 to 100", b.Choices)
		c.count("ringSize", b.RingSize, maxRing)
		c.count("maxRingSize", b.MaxRingSize, maxRing)
		if b.MaxRingSize > 0 {
			c.thatf(b.RingSize <= b.MaxRingSize, "ringSize", "%d is too large: must not be above %s, which is %d",
				b.RingSize, c.name("maxRingSize"), b.MaxRingSize)
		}
		c.thatf(b.PanicPercent <= 100, "panicPercent", "%d is too large: must be 1 to 100, or -1 for off", b.PanicPercent)
		c.oneOf("prefer", b.Prefer, PreferZone, PreferRegion, PreferNone)
		c.thatf(b.SubsetAbove <= maxCount, "subsetAbove", "%d is too large: must be 1 to %d, or -1 for never", b.SubsetAbove, maxCount)
		c.thatf(b.SubsetSize == 0 || b.SubsetSize >= 2 && b.SubsetSize <= maxSubset, "subsetSize",
			"%d is out of range: must be 2 to %d", b.SubsetSize, maxSubset)
		c.hashes("hash", b.Hash)
	})
}

func (c *checker) hashes(path string, list []Hash) {
	c.thatf(len(list) <= maxKeyed, path, "%d are too many: must be at most %d", len(list), maxKeyed)
	for i, h := range list {
		c.in(element(path, i), h.check)
	}
}

func (h Hash) check(c *checker) {
	c.one(map[string]bool{
		"header": h.Header != "", "cookie": h.Cookie != "", "query": h.Query != "", "source": h.Source, "affinity": h.Affinity,
	}, true)
	c.thatf(h.Cookie != "" || h.CookieTTL == 0, "cookieTTL", "needs the name of the cookie: say cookie too")
	c.thatf(h.CookieTTL != 0 || h.CookiePath == "", "cookiePath", "needs cookieTTL: it is for a cookie that is made up")
	c.thatf(h.Header == "" || headerName(h.Header), "header", "%s can not be the name of a header", quote(h.Header))
	c.thatf(h.Cookie == "" || headerName(h.Cookie), "cookie", "%s can not be the name of a cookie", quote(h.Cookie))
}
