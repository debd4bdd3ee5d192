package policy

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestDefaultSaysEverything(t *testing.T) {
	s := Default()
	if err := s.Validate(); err != nil {
		t.Error(err)
	}
	for _, path := range paths(reflect.TypeFor[Service](), "") {
		if follows := path == "timeout.perTry"; fieldAt(s, path).IsZero() != follows {
			t.Errorf("%s is %v", path, fieldAt(s, path))
		}
	}
}

// TestNoFieldForgotten fails for a type that neither Decode nor Merge knows.
func TestNoFieldForgotten(t *testing.T) {
	for _, path := range paths(reflect.TypeFor[Service](), "") {
		switch v := fieldAt(Default(), path); v.Interface().(type) {
		case Duration, Limit, int, float64, string, bool:
		default:
			if v.Kind() != reflect.Struct && v.Kind() != reflect.Slice && v.Kind() != reflect.Map {
				t.Errorf("%s has type %s, which Decode can not read", path, v.Type())
			}
		}
	}
}

func TestIdempotent(t *testing.T) {
	r := Retry{Methods: []string{"/stock.v1.Stock/Get", "/prices.v1.Prices/*"}}
	for method, want := range map[string]bool{
		"/stock.v1.Stock/Get":    true,
		"/stock.v1.Stock/GetAll": false,
		"/stock.v1.Stock/":       false,
		"/prices.v1.Prices/List": true,
		"/prices.v1.PricesX/Get": false,
		"/prices.v1.Prices":      false,
		"":                       false,
	} {
		if got := r.Idempotent(method); got != want {
			t.Errorf("Idempotent(%q) = %v", method, got)
		}
	}
	if (Retry{}).Idempotent("/a/b") {
		t.Error("no list, and still idempotent")
	}
}

func TestBreakerOff(t *testing.T) {
	on := Default().Breaker
	for name, test := range map[string]struct {
		change func(*Breaker)
		want   bool
	}{
		"default":       {func(*Breaker) {}, false},
		"only one":      {func(b *Breaker) { b.Failures = -1 }, false},
		"only other":    {func(b *Breaker) { b.FailureRatio = -1 }, false},
		"both triggers": {func(b *Breaker) { b.Failures, b.FailureRatio = -1, -1 }, true},
		"open":          {func(b *Breaker) { b.Open = Off }, true},
	} {
		b := on
		test.change(&b)
		if b.Off() != test.want {
			t.Errorf("%s: Off() = %v", name, b.Off())
		}
	}
}

// fieldAt returns the field at a path of a policy.
func fieldAt(s Service, path string) reflect.Value {
	v := reflect.ValueOf(s)
	for name := range strings.SplitSeq(path, ".") {
		fields := fieldsOf(v.Type())
		i := slices.IndexFunc(fields, func(f field) bool { return f.name == name })
		v = v.FieldByIndex(fields[i].index)
	}
	return v
}

// validService draws policies that say some fields, all of them right also
// when they are merged in any way.
func validService() *rapid.Generator[Service] {
	return rapid.Custom(func(t *rapid.T) Service {
		between := func(name string, least, most Duration) Duration {
			return rapid.OneOf(rapid.Just(Duration(0)), rapid.Map(rapid.Int64Range(int64(least), int64(most)),
				func(n int64) Duration { return Duration(n) })).Draw(t, name)
		}
		count := func(name string, most int) int {
			return rapid.OneOf(rapid.Just(0), rapid.IntRange(1, most)).Draw(t, name)
		}
		ratio := func(name string) float64 {
			return rapid.OneOf(rapid.SampledFrom([]float64{0, -1, 1}), rapid.Float64Range(0.001, 1)).Draw(t, name)
		}
		return Service{
			Timeout: Timeout{
				Total:   rapid.SampledFrom([]Duration{0, Off, seconds(10), seconds(60)}).Draw(t, "total"),
				PerTry:  rapid.SampledFrom([]Duration{0, Off, 1, seconds(9)}).Draw(t, "perTry"),
				Connect: between("connect", 1, seconds(5)),
			},
			Retry: Retry{
				Attempts: count("attempts", maxAttempts),
				Backoff: Backoff{
					Base: rapid.SampledFrom([]Duration{0, Off, 1, milliseconds(50)}).Draw(t, "base"),
					Max:  between("max", milliseconds(50), seconds(5)),
				},
				Budget: Budget{Ratio: ratio("budget"), Floor: ratio("floor")},
				Methods: rapid.SampledFrom([][]string{
					nil, {}, {"/a.B/C"}, {"/a.B/*", "/c.D/E"},
				}).Draw(t, "methods"),
				ReplayBytes: rapid.SampledFrom([]int{0, -1, 1, maxReplay}).Draw(t, "replay"),
			},
			Balancer: Balancer{Policy: rapid.SampledFrom([]string{"", P2C, RoundRobin}).Draw(t, "policy")},
			Breaker: Breaker{
				Failures:     count("failures", maxCount),
				FailureRatio: ratio("failureRatio"),
				MinRequests:  count("minRequests", maxCount),
				Window:       between("window", minWindow, seconds(600)),
				Open:         rapid.SampledFrom([]Duration{0, Off, 1, seconds(5)}).Draw(t, "open"),
				Probes:       count("probes", maxProbes),
			},
			Limits: Limits{
				Connections: rapid.SampledFrom([]Limit{0, NoLimit, None, 1, maxCount}).Draw(t, "connections"),
				Concurrency: rapid.SampledFrom([]Limit{0, NoLimit, None, 1, maxCount}).Draw(t, "concurrency"),
			},
			Subsets: rapid.SampledFrom([]map[string]Subset{
				nil, {"v1": {Filter: "Service.Meta.version == v1"}},
			}).Draw(t, "subsets"),
			Routes: rapid.SampledFrom([][]Route{
				nil, {}, {{Name: "x", Match: Match{Path: "/x"}, To: []Leg{{Weight: 99.99}, {Weight: 0.01, Target: Target{Service: "other"}}}}},
			}).Draw(t, "routes"),
			HTTP: HTTP{Protocol: rapid.SampledFrom([]string{"", HTTP1, HTTP2}).Draw(t, "protocol")},
		}
	})
}
