package policy

import (
	"slices"
	"time"
)

// Injection is trouble made on purpose, to see how the service's callers bear
// it: a drill, which is over at a time that is said beforehand. It befalls
// attempts, so that retries are rehearsed too; instances are not blamed for it.
// Each one is marked in the attempt's span, in the metric
// innermesh.client.injections, and in the header innermesh-injected of an
// answer, or the error, which matches call.ErrInjected.
//
// An attempt has the first injection of the list that is for it and that the
// dice choose. A delay comes before what else it says.
type Injection struct {
	// Name is how marks call the injection.
	// Default: its number. Example: "stock is slow".
	Name string `json:"name,omitzero"`
	// Millionths is how many of a million attempts it befalls; it must be said.
	// Default: none. Example: 25000.
	Millionths int `json:"millionths,omitzero"`
	// Until is when it is over, as RFC 3339 writes it; it must be said.
	// Default: none. Example: "2026-11-25T18:00:00Z".
	Until string `json:"until,omitzero"`
	// Header is a header, or metadata, that calls must carry for it, whatever
	// its value: those who want to be part of the drill.
	// Default: all calls. Example: "x-drill".
	Header string `json:"header,omitzero"`
	// Active is how many attempts it befalls at once at most, 10000 at most.
	// Default: 100. Example: 5.
	Active int `json:"active,omitzero"`
	// Delay is how long the attempt is held before it is sent. That costs the
	// attempt's time.
	// Default: no delay. Example: "300ms".
	Delay Duration `json:"delay,omitzero"`
	// Spread says how delays differ: "fixed" is not at all, "exponential" has
	// delay for its mean and ten times that for its most.
	// Default: fixed. Example: "exponential".
	Spread string `json:"spread,omitzero"`
	// Status is an HTTP status, 400 to 599, that is answered in the instance's
	// place; a gRPC call gets the code that belongs to it.
	// Default: none. Example: 503.
	Status int `json:"status,omitzero"`
	// Code is a gRPC code that is answered in the instance's place; an HTTP
	// request gets the status that belongs to it.
	// Default: none. Example: "UNAVAILABLE".
	Code string `json:"code,omitzero"`
	// Connection is how the connection seems to break instead: "reset", as if
	// the instance had died with the request in its hands, or "blackhole", in
	// which the attempt vanishes until its time is over.
	// Default: none. Example: "blackhole".
	Connection string `json:"connection,omitzero"`
	// BytesPerSecond is how fast the body of an HTTP answer comes; gRPC calls
	// are not concerned.
	// Default: no bound. Example: 1024.
	BytesPerSecond int `json:"bytesPerSecond,omitzero"`
}

// The values of [Injection].Spread and [Injection].Connection.
const (
	Fixed       = "fixed"
	Exponential = "exponential"
	Reset       = "reset"
	BlackHole   = "blackhole"
)

// GRPCCodes are the names of gRPC's codes by number.
func GRPCCodes() []string {
	return []string{
		"OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS",
		"PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED",
		"INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED",
	}
}

const (
	million       = 1_000_000
	maxInjections = 20
	maxActive     = 10_000
)

func checkInjections(c *checker, all []Injection) {
	c.thatf(len(all) <= maxInjections, "inject", "%d are too many: must be at most %d", len(all), maxInjections)
	for i, in := range all {
		c.in(element("inject", i), in.check)
	}
}

func (i Injection) check(c *checker) {
	c.thatf(i.Millionths != 0, "millionths", "is missing: say how many of a million attempts it befalls")
	c.count("millionths", i.Millionths, million)
	_, err := time.Parse(time.RFC3339, i.Until)
	c.thatf(i.Until != "", "until", `is missing: say when it is over, such as "2026-11-25T18:00:00Z"`)
	c.thatf(i.Until == "" || err == nil, "until", `%s is not a time: write it as "2026-11-25T18:00:00Z"`, quote(i.Until))
	c.thatf(i.Header == "" || headerName(i.Header), "header", "%s can not be the name of a header", quote(i.Header))
	c.count("active", i.Active, maxActive)
	c.thatf(i.Delay >= 0, "delay", "can not be off: leave it out")
	c.oneOf("spread", i.Spread, Fixed, Exponential)
	c.thatf(i.Spread == "" || i.Delay != 0, "spread", "has nothing to spread: it needs a delay")
	c.thatf(i.Status == 0 || i.Status >= 400 && i.Status <= 599, "status", "%d is no HTTP status of a failure: must be 400 to 599", i.Status)
	c.oneOf("code", i.Code, GRPCCodes()[1:]...)
	c.oneOf("connection", i.Connection, Reset, BlackHole)
	c.count("bytesPerSecond", i.BytesPerSecond, 1<<40)
	ends := map[string]bool{
		"status": i.Status != 0, "code": i.Code != "", "connection": i.Connection != "", "bytesPerSecond": i.BytesPerSecond != 0,
	}
	c.one(ends, false)
	does := i.Delay != 0
	for _, said := range ends {
		does = does || said
	}
	c.thatf(does, "", "does nothing: it needs a delay, status, code, connection or bytesPerSecond")
}

// EndsAt is when the injection is over; for ever ago if it can not be read.
func (i Injection) EndsAt() time.Time {
	at, err := time.Parse(time.RFC3339, i.Until)
	if err != nil {
		return time.Time{}
	}
	return at
}

// CodeNumber is Code as it goes over the wire, 0 if there is none.
func (i Injection) CodeNumber() int { return max(slices.Index(GRPCCodes(), i.Code), 0) }
