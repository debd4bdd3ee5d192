package policy

import "github.com/innermesh/innermesh/retry"

// Service is what a call to one service is told. The zero value says nothing:
// each field that is zero is left to the layer below it (see [Merge]).
//
// Encoded as JSON it is a document that [Decode] accepts, provided that it is
// valid. Use Decode, not [encoding/json], to read one: only Decode is strict.
type Service struct {
	Timeout  Timeout  `json:"timeout,omitzero"`
	Retry    Retry    `json:"retry,omitzero"`
	Balancer Balancer `json:"balancer,omitzero"`
	Breaker  Breaker  `json:"breaker,omitzero"`
	Ejection Ejection `json:"ejection,omitzero"`
	Limits   Limits   `json:"limits,omitzero"`

	Connections Connections `json:"connections,omitzero"`

	HTTP    HTTP    `json:"http,omitzero"`
	Hedge   Hedge   `json:"hedge,omitzero"`
	Inbound Inbound `json:"inbound,omitzero"`
	// Inject lists trouble that is made on purpose, 20 at most. The list
	// replaces that of the layer below; an empty one says that there is none.
	// Default: []. Example: [{"millionths": 25000, "status": 503, "until": "2026-11-25T18:00:00Z"}].
	Inject []Injection `json:"inject,omitzero"`
	// Stick says what of a call decides which share of a split it falls to: all
	// that is found is combined, and calls with the same go the same way. Of two
	// shares the one that grows keeps who it has. A call of which nothing is
	// found goes by chance. The list replaces that of the layer below.
	// Default: []. Example: [{"cookie": "session"}].
	Stick []Hash `json:"stick,omitzero"`
	// Mirror lists where copies of the calls are sent besides, 5 at most. The list
	// replaces that of the layer below; an empty one says that there is none.
	// Default: []. Example: [{"service": "stock-next", "percent": 5}].
	Mirror []Mirror `json:"mirror,omitzero"`
	// Subsets holds parts of the service by the names that targets can give.
	// The whole of it replaces that of the layer below.
	// Default: {}. Example: {"v2": {"filter": "Service.Meta.version == v2"}}.
	Subsets map[string]Subset `json:"subsets,omitzero"`
	// Routes lists the ways to take; the first that fits counts, 1000 are the
	// most. The list replaces that of the layer below; an empty one says that
	// all calls go to the service itself.
	// Default: []. Example: [{"match": {"pathPrefix": "/v2/"}, "to": [{"service": "stock-next"}]}].
	Routes []Route `json:"routes,omitzero"`
}

// Default returns the built-in policy, the layer below all others. It says
// every field but one: timeout.perTry follows from the others, see [Merge].
func Default() Service {
	return Service{
		Timeout: Timeout{
			Total:   seconds(15),
			Connect: seconds(1),
			Idle:    seconds(300),
			Tell:    TellNothing,
		},
		Retry: Retry{
			Attempts:    3,
			On:          conditions(retry.DefaultConditions()),
			Statuses:    []int{},
			Backoff:     Backoff{Base: milliseconds(25), Max: milliseconds(250)},
			Budget:      Budget{Ratio: 0.2, Floor: 1},
			Nested:      Never,
			Methods:     []string{},
			Key:         KeyGiven,
			ReplayBytes: 64 << 10,
		},
		Balancer: Balancer{
			Policy: PeakEWMA, Load: LoadSeen, Choices: 2, RingSize: 1024, MaxRingSize: maxRing, Hash: []Hash{},
			PanicPercent: 50, Prefer: PreferZone, SubsetAbove: 100, SubsetSize: 20,
		},
		Breaker: Breaker{
			Failures:     5,
			FailureRatio: 0.5,
			MinRequests:  20,
			Window:       seconds(10),
			Open:         seconds(5),
			Probes:       1,
		},
		Ejection: Ejection{
			Failures:   5,
			Enforced:   100,
			Interval:   seconds(10),
			Base:       Off,
			Max:        seconds(300),
			MaxPercent: 10,
		},
		Limits: Limits{Connections: NoLimit, Pending: NoLimit, Concurrency: NoLimit,
			Bulkhead: Bulkhead{Max: NoLimit, Queue: None, Wait: milliseconds(100), By: []string{}},
			Rate:     Rate{PerSecond: -1, Burst: -1, Wait: Off, By: []string{}},
			Adaptive: Adaptive{Max: NoLimit, Min: 4, Tolerance: 0.35, Interval: seconds(60)},
		},
		Connections: Connections{Min: -1, MaxPerInstance: 1024, MaxAge: Off, Idle: seconds(90), Ping: seconds(330), Unacked: seconds(20)},

		HTTP:  HTTP{Protocol: HTTP1},
		Hedge: Hedge{After: Off, Percentile: -1, Attempts: 2},
		Inbound: Inbound{
			Concurrency: NoLimit, Queue: None, Wait: milliseconds(100), Least: milliseconds(1), Shares: []Share{},
			Rate:     InboundRate{PerSecond: -1, Burst: -1},
			Adaptive: Adaptive{Max: NoLimit, Min: 4, Tolerance: 0.35, Interval: seconds(60)},
		},
		Inject:  []Injection{},
		Stick:   []Hash{},
		Mirror:  []Mirror{},
		Subsets: map[string]Subset{},
		Routes:  []Route{},
	}
}
