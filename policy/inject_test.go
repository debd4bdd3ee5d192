package policy

import (
	"errors"
	"strings"
	"testing"
)

func TestInjectionMistakes(t *testing.T) {
	const rest = `"millionths": 1, "until": "2026-11-25T18:00:00Z"`
	for doc, want := range map[string]string{
		`{"status": 503, "until": "2026-11-25T18:00:00Z"}`:                        "inject[0].millionths: is missing",
		`{"status": 503, "millionths": 1}`:                                        "inject[0].until: is missing",
		`{"status": 503, "millionths": 1, "until": "soon"}`:                       `inject[0].until: "soon" is not a time`,
		`{"status": 503, "millionths": 1000001, "until": "2026-11-25T18:00:00Z"}`: "inject[0].millionths: 1000001 is out of range",
		`{` + rest + `}`:                                         "inject[0]: does nothing",
		`{"status": 200, ` + rest + `}`:                          "inject[0].status: 200 is no HTTP status of a failure",
		`{"code": "OK", ` + rest + `}`:                           `inject[0].code: "OK" is not known`,
		`{"status": 503, "code": "INTERNAL", ` + rest + `}`:      "inject[0]: says more than one",
		`{"delay": "off", ` + rest + `}`:                         "inject[0].delay: can not be off",
		`{"spread": "exponential", "status": 503, ` + rest + `}`: "inject[0].spread: has nothing to spread",
		`{"delay": "1s", "header": "x y", ` + rest + `}`:         "inject[0].header",
	} {
		_, err := Decode([]byte(`{"inject": [`+doc+`]}`), "test")
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", doc, err, want)
		}
		if e, is := errors.AsType[*DocumentError](err); is && len(e.Faults) != 1 {
			t.Errorf("%s: %v", doc, err)
		}
	}
}

// A route's own drill takes the place of the service's.
func TestInjectionsOfRoutes(t *testing.T) {
	s, err := Decode([]byte(`{"inject": [{"millionths": 1, "status": 503, "until": "2026-11-25T18:00:00Z"}],
		"routes": [{"name": "calm", "inject": []}, {"name": "own", "inject": [{"millionths": 2, "delay": "1s", "until": "2026-11-25T18:00:00Z"}]}, {}]}`), "test")
	if err != nil {
		t.Fatal(err)
	}
	e := Merge(Layer{"built-in", Default()}, Layer{"test", s})
	for i, want := range []int{0, 2, 1} {
		got := e.ForRoute(i).Inject
		if len(got) != min(want, 1) || want > 0 && got[0].Millionths != want {
			t.Errorf("route %d: %+v", i, got)
		}
	}
}
