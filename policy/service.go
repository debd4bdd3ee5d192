package policy

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
	HTTP     HTTP     `json:"http,omitzero"`
}

// Default returns the built-in policy, the layer below all others. It says
// every field but one: timeout.perTry follows from the others, see [Merge].
func Default() Service {
	return Service{
		Timeout: Timeout{
			Total:   seconds(15),
			Connect: seconds(1),
		},
		Retry: Retry{
			Attempts:    3,
			Backoff:     Backoff{Base: milliseconds(25), Max: milliseconds(250)},
			Budget:      Budget{Ratio: 0.2, Floor: 1},
			Methods:     []string{},
			ReplayBytes: 64 << 10,
		},
		Balancer: Balancer{Policy: P2C},
		Breaker: Breaker{
			Failures:     5,
			FailureRatio: 0.5,
			MinRequests:  20,
			Window:       seconds(10),
			Open:         seconds(5),
			Probes:       1,
		},
		HTTP: HTTP{Protocol: HTTP1},
	}
}
