package policy

import "time"

// Connections says how connections to instances are kept. How many there may be
// to all instances together is said by limits.connections.
type Connections struct {
	// Min is how many connections to each instance are made before calls need
	// them and kept though they are idle, at most 1000, once the service was
	// called for the first time. Over HTTP/2 one carries many calls. -1 is none.
	// gRPC always keeps one for each client connection.
	// Default: -1. Example: 2.
	Min int `json:"min,omitzero"`
	// MaxPerInstance bounds the connections to one instance. When all are busy,
	// an HTTP call waits for one within the time of its attempt, at most
	// limits.pending of them. "off" is any number. gRPC has one for each client
	// connection.
	// Default: 1024. Example: 16.
	MaxPerInstance Limit `json:"maxPerInstance,omitzero"`
	// MaxAge is how old a connection may become: then it takes no new calls and
	// is closed when it carries none. At random it is up to a fifth less, so
	// that not all are made anew at once. Instances that come and go are no
	// reason for it; a balancer between us and them that is not seen may be.
	// Default: off. Example: "10m".
	MaxAge Duration `json:"maxAge,omitzero"`
	// Idle is how long a connection may carry no call before it is closed. A
	// server that says that it waits for less ("Keep-Alive: timeout=5") is
	// believed. gRPC is not concerned.
	// Default: 1m30s. Example: "30s".
	Idle Duration `json:"idle,omitzero"`
	// Ping is after how long of silence the other side of an HTTP/2 connection
	// is asked whether it is there, and given 15s to say so. Servers may take
	// questions amiss (ENHANCE_YOUR_CALM): gRPC's stock servers in Go do if they
	// come more often than every 5m. gRPC is asked after 5m30s, whatever is said
	// here, and only while calls are under way.
	// Default: 5m30s. Example: "30s".
	Ping Duration `json:"ping,omitzero"`
	// Unacked is how long what was sent may go unacknowledged before the
	// connection counts as lost (TCP_USER_TIMEOUT; on Linux alone). A server
	// that reads nothing for longer, in the middle of a body, is lost as well.
	// Default: 20s. Example: "10s".
	Unacked Duration `json:"unacked,omitzero"`
}

const (
	maxMin     = 1000
	minPing    = Duration(time.Second)
	minUnacked = Duration(10 * time.Millisecond)
)

func (n Connections) check(c *checker) {
	c.in("connections", func(c *checker) {
		c.thatf(n.Min <= maxMin, "min", "%d is too large: must be 1 to %d, or -1 for none", n.Min, maxMin)
		c.thatf(n.MaxPerInstance >= NoLimit && n.MaxPerInstance <= maxCount, "maxPerInstance",
			`%s is out of range: must be 1 to %d, or "off"`, n.MaxPerInstance, maxCount)
		if most, bounded := n.MaxPerInstance.Bound(); bounded && n.Min > 0 {
			c.thatf(n.Min <= most, "min", "%d is too large: must not be above %s, which is %d", n.Min, c.name("maxPerInstance"), most)
		}
		c.thatf(n.Ping <= 0 || n.Ping >= minPing, "ping", "%s is too short: must be at least %s", n.Ping, minPing)
		c.thatf(n.Unacked <= 0 || n.Unacked >= minUnacked, "unacked", "%s is too short: must be at least %s", n.Unacked, minUnacked)
	})
}
