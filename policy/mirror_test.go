package policy

import (
	"errors"
	"math"
	"strings"
	"testing"
)

func TestMirrorMistakes(t *testing.T) {
	for doc, want := range map[string]string{
		`{"mirror": [{}]}`:                                                             "mirror[0]: needs to say where copies go",
		`{"mirror": [{"percent": 5}]}`:                                                 "mirror[0]: needs to say where copies go",
		`{"mirror": [{"service": "next", "percent": 101}]}`:                            "mirror[0].percent: 101 is out of range",
		`{"mirror": [{"service": "next", "percent": -1}]}`:                             "mirror[0].percent: -1 is out of range",
		`{"mirror": [{"service": "next", "percent": 0.001}]}`:                          "mirror[0].percent: 0.001 is out of range",
		`{"mirror": [{"service": "next", "maxBytes": -1}]}`:                            "mirror[0].maxBytes: -1 is out of range",
		`{"mirror": [{"service": "next", "active": 10001}]}`:                           "mirror[0].active: 10001 is out of range",
		`{"mirror": [{"service": "next", "timeout": "off"}]}`:                          "mirror[0].timeout: can not be off",
		`{"mirror": [{"service": "next", "subset": "v2"}]}`:                            "mirror[0].subset: \"v2\" is a subset of another service",
		`{"mirror": [{"filter": "Service.Meta.version =="}]}`:                          "mirror[0].filter: can not be read",
		`{"subsets": {"v1": {}}, "mirror": [{"subset": "v2"}]}`:                        "mirror[0].subset: there is no subset \"v2\"",
		`{"routes": [{"mirror": [{"subset": "v2"}]}]}`:                                 "routes[0].mirror[0].subset: there is no subset \"v2\"",
		`{"routes": [{"mirror": [{"service": "a", "percent": 0}]}]}`:                   "routes[0].mirror[0].percent",
		`{"mirror": [` + strings.Repeat(`{"service": "a"},`, 5) + `{"service": "a"}]}`: "mirror: 6 are too many",
	} {
		_, err := Decode([]byte(doc), "test")
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", doc, err, want)
		}
		if e, is := errors.AsType[*DocumentError](err); is && len(e.Faults) != 1 {
			t.Errorf("%s: %v", doc, err)
		}
	}
	for _, odd := range []float64{math.NaN(), math.Inf(1), math.Inf(-1), math.Copysign(0, -1)} {
		if (Service{Mirror: []Mirror{{Service: "a", Percent: odd}}}).Validate() == nil {
			t.Errorf("%v percent are taken", odd)
		}
	}
}

// A subset may be defined by another layer; in the end it has to be there.
func TestMirrorOfSubset(t *testing.T) {
	s, err := Decode([]byte(`{"mirror": [{"subset": "v2", "percent": 12.5}]}`), "test")
	if err != nil {
		t.Fatal(err)
	}
	if got := s.Mirror[0].Hundredths(); got != 1250 {
		t.Errorf("12.5 %% are %d hundredths", got)
	}
	builtin, own := Layer{"built-in", Default()}, Layer{"test", s}
	if err := Merge(builtin, own).Validate(); err == nil || !strings.Contains(err.Error(), `there is no subset "v2"`) {
		t.Errorf("without the subset: %v", err)
	}
	subsets := Layer{"subsets", Service{Subsets: map[string]Subset{"v2": {Filter: "Service.Meta.version == v2"}}}}
	if err := Merge(builtin, subsets, own).Validate(); err != nil {
		t.Error(err)
	}
}

// A route's own mirrors take the place of the service's.
func TestMirrorsOfRoutes(t *testing.T) {
	s, err := Decode([]byte(`{"mirror": [{"service": "a"}],
		"routes": [{"name": "none", "mirror": []}, {"name": "own", "mirror": [{"service": "b"}, {"service": "c"}]}, {}]}`), "test")
	if err != nil {
		t.Fatal(err)
	}
	e := Merge(Layer{"built-in", Default()}, Layer{"test", s})
	for i, want := range []string{"", "b c", "a"} {
		var got []string
		for _, m := range e.ForRoute(i).Mirror {
			got = append(got, m.Service)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("route %d: %v, want %s", i, got, want)
		}
	}
}
