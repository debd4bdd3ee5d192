package policy

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
)

func TestValidate(t *testing.T) {
	tests := map[string]struct {
		service Service
		want    string // the error, "" for none
	}{
		"nothing said": {Service{}, ""},
		"off":          {Service{Timeout: Timeout{Total: Off, PerTry: seconds(99)}, Breaker: Breaker{Open: Off}}, ""},
		"perTry":       {Service{Timeout: Timeout{Total: seconds(2), PerTry: seconds(2)}}, "timeout.perTry: 2s leaves no time for another attempt: must be less than timeout.total, which is 2s"},
		"connect":      {Service{Timeout: Timeout{Connect: Off}}, "timeout.connect: can not be off: give a duration above zero"},
		"attempts":     {Service{Retry: Retry{Attempts: 600}}, "retry.attempts: 600 is out of range: must be 1 to 100"},
		"no attempts":  {Service{Retry: Retry{Attempts: -1}}, "retry.attempts: -1 is out of range: must be 1 to 100"},
		"backoff":      {Service{Retry: Retry{Backoff: Backoff{Base: seconds(2), Max: seconds(1)}}}, "retry.backoff.base: 2s is too long: must not be above retry.backoff.max, which is 1s"},
		"backoff max":  {Service{Retry: Retry{Backoff: Backoff{Max: Off}}}, "retry.backoff.max: can not be off: give a duration above zero, or switch retry.backoff.base off to retry at once"},
		"ratio":        {Service{Retry: Retry{Budget: Budget{Ratio: 20}}}, "retry.budget.ratio: 20 is out of range: must be above 0 and at most 1, or -1 for off"},
		"NaN":          {Service{Breaker: Breaker{FailureRatio: math.NaN()}}, "breaker.failureRatio: NaN is out of range: must be above 0 and at most 1, or -1 for off"},
		"-Inf":         {Service{Breaker: Breaker{FailureRatio: math.Inf(-1)}}, "breaker.failureRatio: -Inf is out of range: must be above 0 and at most 1, or -1 for off"},
		"-0":           {Service{Breaker: Breaker{FailureRatio: math.Copysign(0, -1)}}, "breaker.failureRatio: -0 is out of range: must be above 0 and at most 1, or -1 for off"},
		"floor":        {Service{Retry: Retry{Budget: Budget{Floor: 1001}}}, "retry.budget.floor: 1001 is out of range: must be above 0 and at most 1000 retries a second, or -1 for none"},
		"replay":       {Service{Retry: Retry{ReplayBytes: 1 << 30}}, "retry.replayBytes: 1073741824 is too large: must be at most 16777216, or -1 for none"},
		"key":          {Service{Retry: Retry{Key: "mint"}}, `retry.key: "mint" is not known: must be "given" or "minted"`},
		"balancer":     {Service{Balancer: Balancer{Policy: "rr"}}, `balancer.policy: "rr" is not known: must be "p2c" or "peak_ewma" or "round_robin" or "random" or "least_request" or "ring_hash" or "maglev"`},
		"panic":        {Service{Balancer: Balancer{PanicPercent: 101}}, `balancer.panicPercent: 101 is too large: must be 1 to 100, or -1 for off`},
		"prefer":       {Service{Balancer: Balancer{Prefer: "rack"}}, `balancer.prefer: "rack" is not known: must be "zone" or "region" or "none"`},
		"subset above": {Service{Balancer: Balancer{SubsetAbove: 1_000_001}}, `balancer.subsetAbove: 1000001 is too large: must be 1 to 1000000, or -1 for never`},
		"subset size":  {Service{Balancer: Balancer{SubsetSize: 1}}, `balancer.subsetSize: 1 is out of range: must be 2 to 10000`},
		"protocol":     {Service{HTTP: HTTP{Protocol: "h2c"}}, `http.protocol: "h2c" is not known: must be "http1" or "http2"`},
		"window":       {Service{Breaker: Breaker{Window: Off}}, "breaker.window: off is too short: must be at least 10ms"},
		"window short": {Service{Breaker: Breaker{Window: minWindow - 1}}, "breaker.window: 9.999999ms is too short: must be at least 10ms"},
		"window least": {Service{Breaker: Breaker{Window: minWindow}}, ""},
		"probes":       {Service{Breaker: Breaker{Probes: 101}}, "breaker.probes: 101 is out of range: must be 1 to 100"},
		"many": {
			Service{Retry: Retry{Attempts: 600}, HTTP: HTTP{Protocol: "spdy"}, Breaker: Breaker{Failures: 2_000_000, MinRequests: -1}},
			"retry.attempts: 600 is out of range: must be 1 to 100\n" +
				"breaker.failures: 2000000 is too large: must be 1 to 1000000, or -1 for off\n" +
				"breaker.minRequests: -1 is out of range: must be 1 to 1000000\n" +
				`http.protocol: "spdy" is not known: must be "http1" or "http2"`,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var got string
			if err := test.service.Validate(); err != nil {
				got = err.Error()
			}
			if got != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
		})
	}
}

func TestValidateMethods(t *testing.T) {
	for _, good := range []string{"/stock.v1.Stock/Get", "/Stock/*", "/a/b"} {
		if err := (Service{Retry: Retry{Methods: []string{good}}}).Validate(); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	for _, bad := range []string{"", "/", "//", "*", "/*", "/*/*", "/a/", "//b", "a/b", "/a/b/c", "/a/b*", "/a*/b", "/a b/c", "/a/b\n", "/ä/b", "GET /a"} {
		err := Service{Retry: Retry{Methods: []string{"/a/b", bad}}}.Validate()
		if fault, ok := errors.AsType[Fault](err); !ok || fault.Path != "retry.methods[1]" {
			t.Errorf("%q: got %v, want a fault at retry.methods[1]", bad, err)
		}
	}
}

func TestValidateCountsMethods(t *testing.T) {
	many := Retry{Methods: slices.Repeat([]string{"/a/b"}, maxMethods)}
	if err := (Service{Retry: many}).Validate(); err != nil {
		t.Errorf("%d methods: %v", maxMethods, err)
	}
	many.Methods = append(many.Methods, "/a/b")
	err := Service{Retry: many}.Validate()
	if fault, ok := errors.AsType[Fault](err); !ok || fault.Path != "retry.methods" || !strings.HasPrefix(fault.Message, "1001 are too many") {
		t.Errorf("one more: got %v, want a fault at retry.methods", err)
	}
}

func TestEffectiveValidateNamesLayers(t *testing.T) {
	e := Merge(
		Layer{"built-in", Default()},
		Layer{"defaults", Service{Timeout: Timeout{PerTry: seconds(3)}}},
		Layer{"stock", Service{Timeout: Timeout{Total: seconds(2)}, Retry: Retry{Methods: []string{"Get"}}}},
	)
	err := e.Validate()
	want := []string{
		`timeout.perTry: 3s leaves no time for another attempt: must be less than timeout.total (set by "stock"), which is 2s (set by "defaults")`,
		`retry.methods[0]: "Get" is not a gRPC method: write "/package.Service/Method", or "/package.Service/*" for all of a service (set by "stock")`,
	}
	if err == nil || err.Error() != strings.Join(want, "\n") {
		t.Errorf("got\n%v\nwant\n%s", err, strings.Join(want, "\n"))
	}
}
