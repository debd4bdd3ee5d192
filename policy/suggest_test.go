package policy

import (
	"reflect"
	"testing"
)

func TestMeant(t *testing.T) {
	all := paths(reflect.TypeFor[Service](), "")
	for name, test := range map[string]struct {
		path, name string
		neighbours []string
		want       string
	}{
		"the nearest, not the last": {"", "abc", []string{"abd", "xbd"}, `did you mean "abd"? `},
		"the first of equals":       {"", "abc", []string{"abd", "abe"}, `did you mean "abd"? `},
		"at its path":               {"retry.budget", "Ratios", []string{"ratio", "floor"}, `did you mean "retry.budget.ratio"? `},
		"lives elsewhere":           {"", "Attempts", []string{"timeout", "retry"}, `did you mean "retry.attempts"? `},
		"too far":                   {"", "deadline", []string{"timeout", "retry"}, ""},
		"too short to guess":        {"", "ab", []string{"cd"}, ""},
		"not a name":                {"", "ab d", []string{"abd"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			if got := meant(test.path, test.name, test.neighbours, all); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}
