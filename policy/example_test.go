package policy_test

import (
	"fmt"
	"time"

	"github.com/innermesh/innermesh/policy"
)

// A document is read, laid over the built-in policy and checked.
func Example() {
	stock, err := policy.Decode([]byte(`{
		"timeout": {"total": "2s"},
		"retry": {"attempts": 2}
	}`), "stock.json")
	if err != nil {
		fmt.Println(err)
		return
	}
	e := policy.Merge(
		policy.Layer{Name: "built-in", Service: policy.Default()},
		policy.Layer{Name: "stock.json", Service: stock},
	)
	if err := e.Validate(); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("total", e.Timeout.Total, "by", e.Origin("timeout.total"))
	fmt.Println("per try", e.Timeout.PerTry, "by", e.Origin("timeout.perTry"))
	fmt.Println("connect", e.Timeout.Connect, "by", e.Origin("timeout.connect"))
	// Output:
	// total 2s by stock.json
	// per try 1s by half of timeout.total
	// connect 1s by built-in
}

// All mistakes are told at once, each with its place.
func ExampleDecode() {
	_, err := policy.Decode([]byte(`{
  "timeout": {"total": 15},
  "retry": {"atempts": 2},
  "balancer": {"policy": "fastest"}
}`), "stock.json")
	fmt.Println(err)
	// Output:
	// decode policy stock.json: 3 mistakes
	// 	2:24 timeout.total: 15: a duration needs its unit: write a string, such as "250ms" or "2s", or "off"
	// 	3:13 retry.atempts: unknown field: did you mean "retry.attempts"? allowed here: attempts, on, statuses, backoff, budget, nested, methods, key, replayBytes
	// 	4:26 balancer.policy: "fastest" is not known: must be "p2c" or "peak_ewma" or "round_robin" or "random" or "least_request" or "ring_hash" or "maglev"
}

// A policy given in code is checked in the same way.
func ExampleService_Validate() {
	s := policy.Service{
		Timeout: policy.Timeout{Total: policy.Duration(2 * time.Second)},
		Retry:   policy.Retry{Attempts: 900},
	}
	fmt.Println(s.Validate())
	// Output:
	// retry.attempts: 900 is out of range: must be 1 to 100
}
