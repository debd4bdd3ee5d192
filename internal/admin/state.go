package admin

import (
	"encoding/json"
	"time"
)

// Span is a duration that is a number of seconds in JSON.
type Span time.Duration

// MarshalJSON writes seconds.
func (s Span) MarshalJSON() ([]byte, error) { return json.Marshal(time.Duration(s).Seconds()) }

// Process is who is looked at.
type Process struct {
	// Service is its logical name.
	Service string `json:"service"`
	// Host is the machine, Place what is known of where that is.
	Host  string `json:"host,omitzero"`
	Place string `json:"place,omitzero"`
	// Version is that of the library, Go that of the toolchain.
	Version string `json:"version,omitzero"`
	Go      string `json:"go,omitzero"`
	// Started is when it joined the mesh.
	Started time.Time `json:"started"`
	// Secured says that calls go over mutual TLS.
	Secured bool `json:"secured"`
	// Health tells how it stands itself, in the order of importance.
	Health []Fact `json:"health,omitzero"`
}

// Fact is something that can be said in a line.
type Fact struct {
	Name  string `json:"name"`
	Value string `json:"value"`
	// Tone says how good that is.
	Tone Tone `json:"tone,omitzero"`
}

// Tone says how good something is: "ok", "warn", "bad" or "idle".
type Tone string

// The tones.
const (
	OK   Tone = "ok"
	Warn Tone = "warn"
	Bad  Tone = "bad"
	Idle Tone = "idle"
)

// Summary is one upstream in a line.
type Summary struct {
	Service string `json:"service"`
	// Error says why nobody can be called, if so.
	Error   string  `json:"error,omitzero"`
	Figures Figures `json:"figures"`
	Census  Census  `json:"instances"`
	// Retries are the attempts that were not the first of their call.
	Retries uint64 `json:"retries"`
	// Exhausted says that some retry budget is spent.
	Exhausted bool `json:"budgetSpent,omitzero"`
	// Tone and Word sum it up.
	Tone Tone   `json:"tone"`
	Word string `json:"state"`

	points []Point
}

// Census counts the instances of an upstream.
type Census struct {
	// All are known, Called are those among them that this process calls, Open
	// those that could be picked now.
	All    int `json:"all"`
	Called int `json:"called"`
	Open   int `json:"open"`
	// Tripped have an open breaker, Ejected do worse than the others, Critical are
	// not to be called by discovery's word.
	Tripped  int `json:"tripped"`
	Ejected  int `json:"ejected"`
	Critical int `json:"critical"`
	Inflight int `json:"inflight"`
}

// Figures are the golden signals of the last ten seconds.
type Figures struct {
	// Rate is calls a second, Errors the part of them that failed, 0 to 1.
	Rate   float64 `json:"rate"`
	Errors float64 `json:"errors"`
	// P50 and P99 are how long calls took, all attempts included.
	P50 Span `json:"p50"`
	P99 Span `json:"p99"`
	// Known says that the figures cover any time at all.
	Known bool `json:"known"`
}

// Point is a moment of the past.
type Point struct {
	Figures
	At time.Time `json:"at"`
}

// Upstream is a service that is called, with everything about it.
type Upstream struct {
	Summary
	History []Point    `json:"history"`
	Routes  []Route    `json:"routes"`
	Targets []Target   `json:"targets"`
	Applied []Document `json:"documents"`
	Refused []Refusal  `json:"refused"`
	Events  []Event    `json:"events"`
	// More is how many calls went wrong besides those among the events.
	More uint64 `json:"moreEvents,omitzero"`
}

// Route is a way for calls to take.
type Route struct {
	Name   string `json:"name"`
	Legs   []Leg  `json:"legs"`
	Budget Budget `json:"budget"`
	// Hedge is after how long a second attempt is made beside the first, 0 is
	// never.
	Hedge Span   `json:"hedge,omitzero"`
	Terms []Term `json:"terms"`
}

// Leg is one share of a route.
type Leg struct {
	Share float64 `json:"share"`
	// Targets are its own, and those to fail over to in order, with how much of
	// the leg each gets now.
	Targets []TargetShare `json:"targets"`
}

// TargetShare is how much goes to a target.
type TargetShare struct {
	Target string  `json:"target"`
	Share  float64 `json:"share"`
}

// Budget is what retries and hedges are paid from.
type Budget struct {
	// Unlimited says that there is none.
	Unlimited bool    `json:"unlimited,omitzero"`
	Ratio     float64 `json:"ratio"`
	Floor     float64 `json:"floor"`
	// Left is how many it would pay for now.
	Left float64 `json:"left"`
}

// Term is a value that is in force, and the layer that has set it.
type Term struct {
	Path   string `json:"path"`
	Value  string `json:"value"`
	Origin string `json:"origin"`
}

// Target is a set of instances that calls go to.
type Target struct {
	Name      string     `json:"name"`
	Error     string     `json:"error,omitzero"`
	Instances []Instance `json:"instances"`
	Limits    []Limit    `json:"limits"`
	Terms     []Term     `json:"terms"`
}

// Limit bounds what goes to a target.
type Limit struct {
	Kind string `json:"kind"`
	// Most is how much may be under way, PerSecond how much may begin.
	Most      float64 `json:"most"`
	PerSecond float64 `json:"perSecond,omitzero"`
	// Now is under way, Waiting waits.
	Now     int `json:"now"`
	Waiting int `json:"waiting"`
	// Note says more.
	Note string `json:"note,omitzero"`
}

// Instance is one running copy.
type Instance struct {
	ID       string `json:"id"`
	Address  string `json:"address"`
	Weight   int    `json:"weight"`
	Health   string `json:"health"`
	Place    string `json:"place,omitzero"`
	Node     string `json:"node,omitzero"`
	Distance string `json:"distance"`
	// State is what becomes of it in a word or two, Why the reason.
	State string `json:"state"`
	Tone  Tone   `json:"tone"`
	Why   string `json:"why,omitzero"`
	// Share is its part of the target's attempts lately, 0 to 1.
	Share    float64 `json:"share"`
	Inflight int     `json:"inflight"`
	Attempts uint64  `json:"attempts"`
	Failures uint64  `json:"failures"`
	P50      Span    `json:"p50"`
	P99      Span    `json:"p99"`
	// Expected is what the balancer expects of it.
	Expected Span    `json:"expected"`
	Breaker  Breaker `json:"breaker"`
	// Out says that it may be put back into rotation by hand.
	Out bool `json:"out,omitzero"`
}

// Breaker is an instance's circuit breaker with its inputs.
type Breaker struct {
	// State is "closed", "open", "half-open" or "off".
	State string    `json:"state"`
	Since time.Time `json:"since,omitzero"`
	// Probe is when an open one lets a call in to try.
	Probe time.Time `json:"probe,omitzero"`
	// Failures of Judged outcomes have failed within Window.
	Judged   int  `json:"judged"`
	Failures int  `json:"failures"`
	Window   Span `json:"window,omitzero"`
}

// Document is a piece of configuration that is in force.
type Document struct {
	// Name says where it comes from, as in "consul kv innermesh/defaults".
	Name string `json:"name"`
	// Service is whom it is about, empty for all.
	Service string `json:"service,omitzero"`
	// Index is the source's own count of changes, 0 if it has none.
	Index uint64 `json:"index,omitzero"`
	// At is when this process has taken it.
	At time.Time `json:"at"`
	// Empty says that there is nothing there.
	Empty bool `json:"empty,omitzero"`
}

// Refusal is a change of the configuration that was refused as a whole.
type Refusal struct {
	Document
	Reason string `json:"reason"`
}

// Config is all that the process goes by.
type Config struct {
	// Layers are the sources, lowest first.
	Layers  []string   `json:"layers"`
	Applied []Document `json:"documents"`
	Refused []Refusal  `json:"refused"`
}

// Certificate is what the process shows of itself.
type Certificate struct {
	// ID is the SPIFFE ID.
	ID     string    `json:"id"`
	Serial string    `json:"serial"`
	Issuer string    `json:"issuer"`
	From   time.Time `json:"from"`
	Until  time.Time `json:"until"`
}

// Root is an authority that is trusted.
type Root struct {
	Name   string    `json:"name"`
	Serial string    `json:"serial"`
	Until  time.Time `json:"until"`
}

// Security is how calls are secured.
type Security struct {
	// Secured says that there is an identity at all.
	Secured bool `json:"secured"`
	// Problem says why there is none just now, or why a newer one is not in use.
	Problem string       `json:"problem,omitzero"`
	Leaf    *Certificate `json:"certificate,omitzero"`
	Roots   []Root       `json:"roots"`
}

// Event is something that has happened.
type Event struct {
	At time.Time `json:"at"`
	// Kind is "failed", "retried", "denied" for a call that came in, or the level of
	// what was logged.
	Kind    string `json:"kind"`
	Tone    Tone   `json:"tone"`
	Service string `json:"service,omitzero"`
	// Text says what, Detail the rest.
	Text   string `json:"text"`
	Detail string `json:"detail,omitzero"`
}

// Work is what goes on beyond single calls.
type Work struct {
	Sagas       []Saga          `json:"sagas"`
	Letters     []Letters       `json:"letters"`
	Idempotency []Fact          `json:"idempotency"`
	Faults      []string        `json:"faults,omitzero"`
	Shown       map[string]bool `json:"shown"`
}

// Saga is a change over several services that has not ended.
type Saga struct {
	ID      string    `json:"id"`
	Name    string    `json:"name"`
	Status  string    `json:"status"`
	Tone    Tone      `json:"tone"`
	Step    string    `json:"step"`
	Why     string    `json:"why,omitzero"`
	Created time.Time `json:"created"`
	Updated time.Time `json:"updated"`
}

// Letters are those of a service in one state.
type Letters struct {
	Service string    `json:"service"`
	State   string    `json:"state"`
	Count   int       `json:"count"`
	Oldest  time.Time `json:"oldest"`
	// Reason is why the latest of them has failed.
	Reason string `json:"reason,omitzero"`
	// AtLeast says that there are more than were counted.
	AtLeast bool `json:"atLeast,omitzero"`
}

// Graph is who calls whom.
type Graph struct {
	// Scope is "process" or "mesh".
	Scope string `json:"scope"`
	Edges []Edge `json:"edges"`
	// Problem says why the graph is not what was asked for.
	Problem string `json:"problem,omitzero"`
	// Left are edges that were left out, since nobody could read them.
	Left int `json:"leftOut,omitzero"`
}

// Edge is one service that calls another.
type Edge struct {
	Figures
	From string `json:"from"`
	To   string `json:"to"`
	Tone Tone   `json:"tone"`
}

// Question is a request that is to be explained.
type Question struct {
	Method, URL, Header string
}

// Explanation is the answer.
type Explanation struct {
	Service string    `json:"service"`
	Method  string    `json:"method"`
	Path    string    `json:"path"`
	Route   string    `json:"route,omitzero"`
	Terms   []Term    `json:"terms"`
	Legs    []WayLeg  `json:"legs"`
	Refused []Refusal `json:"refused,omitzero"`
}

// WayLeg is a share of the way that the request would take.
type WayLeg struct {
	Share   float64     `json:"share"`
	Targets []WayTarget `json:"targets"`
}

// WayTarget is a set of instances on that way.
type WayTarget struct {
	Name       string      `json:"name"`
	Share      float64     `json:"share"`
	Error      string      `json:"error,omitzero"`
	Terms      []Term      `json:"terms"`
	Candidates []Candidate `json:"instances"`
}

// Candidate is an instance that might be picked, unless Out says why not.
type Candidate struct {
	ID      string `json:"id"`
	Address string `json:"address"`
	Out     string `json:"out,omitzero"`
}
