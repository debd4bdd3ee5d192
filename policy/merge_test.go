package policy

import (
	"reflect"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestMerge(t *testing.T) {
	e := Merge(
		Layer{"built-in", Default()},
		Layer{"defaults", Service{Timeout: Timeout{Total: seconds(4)}, Retry: Retry{Methods: []string{"/a.B/C"}}}},
		Layer{"stock", Service{Retry: Retry{Attempts: 2, Methods: []string{}, Budget: Budget{Floor: -1}}}},
	)
	want := Default()
	want.Timeout.Total, want.Timeout.PerTry = seconds(4), seconds(2)
	want.Retry.Attempts, want.Retry.Budget.Floor = 2, -1
	if diff := cmp.Diff(want, e.Service); diff != "" {
		t.Error(diff)
	}
	for path, want := range map[string]string{
		"timeout.total":      "defaults",
		"timeout.perTry":     "half of timeout.total",
		"timeout.connect":    "built-in",
		"retry.attempts":     "stock",
		"retry.methods":      "stock",
		"retry.methods[3]":   "stock",
		"retry.budget.floor": "stock",
		"retry.budget.ratio": "built-in",
		"retry.budget":       "",
		"nonsense":           "",
	} {
		if got := e.Origin(path); got != want {
			t.Errorf("Origin(%q) = %q, want %q", path, got, want)
		}
	}
}

func TestMergePerTry(t *testing.T) {
	for name, test := range map[string]struct {
		layer  Service
		want   Duration
		origin string
	}{
		"follows total":   {Service{Timeout: Timeout{Total: seconds(3)}}, milliseconds(1500), "half of timeout.total"},
		"said":            {Service{Timeout: Timeout{PerTry: seconds(3)}}, seconds(3), "layer"},
		"said to be off":  {Service{Timeout: Timeout{PerTry: Off}}, Off, "layer"},
		"total off":       {Service{Timeout: Timeout{Total: Off}}, Off, "off like timeout.total"},
		"a single try":    {Service{Retry: Retry{Attempts: 1}}, Off, "off as retry.attempts is 1"},
		"hardly any time": {Service{Timeout: Timeout{Total: 1}}, Off, "off as timeout.total is too short to be split"},
	} {
		t.Run(name, func(t *testing.T) {
			e := Merge(Layer{"built-in", Default()}, Layer{"layer", test.layer})
			if e.Timeout.PerTry != test.want || e.Origin("timeout.perTry") != test.origin {
				t.Errorf("got %v by %q, want %v by %q", e.Timeout.PerTry, e.Origin("timeout.perTry"), test.want, test.origin)
			}
			if err := e.Validate(); err != nil {
				t.Error(err)
			}
		})
	}
	if e := Merge(); !reflect.ValueOf(e.Service).IsZero() {
		t.Errorf("nothing merged gave %+v", e.Service)
	}
}

func TestMergeCopiesLists(t *testing.T) {
	mine := []string{"/a.B/C"}
	e := Merge(Layer{"mine", Service{Retry: Retry{Methods: mine}}})
	mine[0] = "/x.Y/Z"
	if got := e.Retry.Methods[0]; got != "/a.B/C" {
		t.Errorf("the merged policy changed with its layer: %s", got)
	}
}

func TestMergeProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		draw := func(name string) Layer { return Layer{name, validService().Draw(t, name)} }
		a, b, c := draw("a"), draw("b"), draw("c")
		same := func(what string, x, y Effective) {
			t.Helper()
			if diff := cmp.Diff(x.Service, y.Service); diff != "" {
				t.Fatalf("%s: %s", what, diff)
			}
			if diff := cmp.Diff(x.origins, y.origins); diff != "" {
				t.Fatalf("%s: origins: %s", what, diff)
			}
		}
		ab := Merge(a, b)
		same("an empty layer below", ab, Merge(Layer{}, a, b))
		same("an empty layer between", ab, Merge(a, Layer{Name: "empty"}, b))
		same("an empty layer above", ab, Merge(a, b, Layer{Name: "empty"}))
		same("a layer twice", ab, Merge(a, b, b))

		// Over two layers already merged, or merging two first that go over the
		// third: all the same. (Merge itself adds perTry in the end.)
		over := func(base, top Service) Service {
			overlay(&base, top, func(string) {})
			return base
		}
		left := over(over(a.Service, b.Service), c.Service)
		right := over(a.Service, over(b.Service, c.Service))
		if diff := cmp.Diff(left, right); diff != "" {
			t.Fatalf("not associative: %s", diff)
		}

		e := Merge(Layer{"built-in", Default()}, a, b, c)
		if err := e.Validate(); err != nil {
			t.Fatalf("valid layers, but: %v", err)
		}
		for _, path := range paths(reflect.TypeFor[Service](), "") {
			v := fieldAt(e.Service, path)
			if v.Kind() == reflect.Struct {
				continue
			}
			var setBy string
			var want reflect.Value
			for _, l := range []Layer{{"built-in", Default()}, a, b, c} {
				if said := fieldAt(l.Service, path); !said.IsZero() {
					setBy, want = l.Name, said
				}
			}
			switch {
			case v.IsZero():
				t.Fatalf("%s is not said", path)
			case setBy == "": // timeout.perTry, which follows from others
			case e.Origin(path) != setBy || !reflect.DeepEqual(v.Interface(), want.Interface()):
				t.Fatalf("%s is %v by %s, want %v by %s", path, v, e.Origin(path), want, setBy)
			}
		}
	})
}
