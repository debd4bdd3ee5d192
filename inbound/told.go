package inbound

import (
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/innermesh/innermesh/call"
	"github.com/innermesh/innermesh/limit"
)

// LeftHeader is the header by which a caller over HTTP says for how many
// milliseconds it waits; the name is Envoy's. Over gRPC it is grpc-timeout.
const LeftHeader = "x-envoy-expected-rq-timeout-ms"

// read takes in what the call tells about itself. What can not be read says
// nothing.
func (a *Arrival) read() {
	a.Inbound.Attempt = number(a.Values(call.AttemptHeader))
	a.Inbound.Mirrored = number(a.Values(call.MirroredHeader)) == 1
	if said := a.Get(call.PriorityHeader); said != "" {
		if p, err := limit.ParsePriority(said); err == nil {
			a.Priority, a.Inbound.Priority = p, p.String()
		}
	}
	if a.Protocol == call.HTTP {
		a.Remaining = time.Duration(number(a.Values(LeftHeader))) * time.Millisecond
	}
	if a.Inbound.RequestID = a.Get(call.RequestIDHeader); !validID(a.Inbound.RequestID) {
		a.Inbound.RequestID = newID()
	}
}

// number reads a header that holds one positive number.
func number(values []string) int {
	if len(values) != 1 {
		return 0
	}
	n, err := strconv.ParseUint(values[0], 10, 31)
	if err != nil {
		return 0
	}
	return int(n)
}

// maxID is the longest ID that is taken over from a caller.
const maxID = 128

// validID says whether an ID may stand in logs and headers as it is.
func validID(id string) bool {
	for i := range len(id) {
		if id[i] <= ' ' || id[i] > '~' || id[i] == '"' || id[i] == '\\' {
			return false
		}
	}
	return id != "" && len(id) <= maxID
}

// newID makes an ID of 128 bits. It tells requests apart and is no secret.
func newID() string {
	const digits = "0123456789abcdef"
	var id [32]byte
	for half := range 2 {
		for i, r := half*16, rand.Uint64(); i < half*16+16; i, r = i+1, r>>4 {
			id[i] = digits[r&15]
		}
	}
	return string(id[:])
}

// carrier reads the trace that a call belongs to.
type carrier Arrival

// Get implements [telemetry.Carrier].
func (c *carrier) Get(key string) string { return (*Arrival)(c).Get(key) }

// Set implements [telemetry.Carrier]; what has come is not changed.
func (c *carrier) Set(string, string) {}

// Keys implements [telemetry.Carrier].
func (c *carrier) Keys() []string {
	keys := make([]string, 0, len(c.Header))
	for k := range c.Header {
		keys = append(keys, k)
	}
	return keys
}
