package consul

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/innermesh/innermesh/policy"
)

func TestMeta(t *testing.T) {
	for name, test := range map[string]struct {
		meta map[string]string
		want policy.Service
	}{
		"none":      {},
		"of others": {meta: map[string]string{"team": "a", "innermesh": "x", "innermeshed/retry": "no", "other/retry.attempts": "x"}},
		"fields": {
			meta: map[string]string{
				"innermesh/retry.attempts":     "2",
				"innermesh/timeout.total":      "2s",
				"innermesh/timeout.perTry":     `"1s"`,
				"innermesh/timeout.idle":       "off",
				"innermesh/retry.budget":       `{"ratio":0.1}`,
				"innermesh/retry.on":           `["5xx"]`,
				"innermesh/limits.concurrency": "none",
				"innermesh/subsets.v2.filter":  "Service.Meta.version == v2",
				"team":                         "checkout",
			},
			want: policy.Service{
				Timeout: policy.Timeout{Total: 2e9, PerTry: 1e9, Idle: policy.Off},
				Retry:   policy.Retry{Attempts: 2, On: []string{"5xx"}, Budget: policy.Budget{Ratio: 0.1}},
				Limits:  policy.Limits{Concurrency: policy.None},
				Subsets: map[string]policy.Subset{"v2": {Filter: "Service.Meta.version == v2"}},
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := fromMeta(test.meta, "innermesh")
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, s); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// A mistake names its key, and refuses the others too.
func TestRefusedMeta(t *testing.T) {
	for name, test := range map[string]struct {
		meta map[string]string
		want []string
	}{
		"unknown":     {map[string]string{"innermesh/retry.atempts": "2", "innermesh/timeout.total": "2s"}, []string{`Meta["innermesh/retry.atempts"]: unknown field: did you mean "retry.attempts"?`}},
		"two of them": {map[string]string{"innermesh/retry.attempts": "900", "innermesh/timeout.total": "5"}, []string{`Meta["innermesh/retry.attempts"]: 900 is out of range`, `Meta["innermesh/timeout.total"]: 5: a duration needs its unit`}},
		"inside":      {map[string]string{"innermesh/retry.budget": `{"ratio": 7}`}, []string{`Meta["innermesh/retry.budget"]: retry.budget.ratio: 7 is out of range`}},
		"no path":     {map[string]string{"innermesh/": "2"}, []string{`Meta["innermesh/"]: `}},
		"odd path":    {map[string]string{"innermesh/retry..attempts": "2"}, []string{`Meta["innermesh/retry..attempts"]: `}},
		"empty":       {map[string]string{"innermesh/timeout.total": ""}, []string{`Meta["innermesh/timeout.total"]: `}},
		"null":        {map[string]string{"innermesh/timeout.total": "null"}, []string{`Meta["innermesh/timeout.total"]: `}},
		"repeated":    {map[string]string{"innermesh/retry.budget": `{"ratio": 0.1, "ratio": 0.2}`}, []string{`Meta["innermesh/retry.budget"]: retry.budget.ratio: said twice`}},
		"overlapping": {map[string]string{"innermesh/retry": `{"attempts": 2}`, "innermesh/retry.budget.ratio": "0.1"}, []string{`Meta["innermesh/retry.budget.ratio"]: says again what "retry" says`}},
		"together":    {map[string]string{"innermesh/timeout.total": "1s", "innermesh/timeout.perTry": "2s"}, []string{`Meta: timeout.perTry: 2s leaves no time for another attempt`}},
		"deep":        {map[string]string{"innermesh/" + strings.Repeat("a.", 60) + "b": "1"}, []string{`: unknown field`}},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := fromMeta(test.meta, "innermesh")
			if err == nil {
				t.Fatal("not refused")
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %v, want %s", err, want)
				}
			}
			if diff := cmp.Diff(policy.Service{}, s); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestConfig(t *testing.T) {
	config := func(document string) map[string]json.RawMessage {
		return map[string]json.RawMessage{"protocol": json.RawMessage(`"http"`), "innermesh": json.RawMessage(document)}
	}
	s, err := fromConfig(config(`{"retry": {"budget": {"ratio": 0.1}}}`), "innermesh")
	if err != nil || s.Retry.Budget.Ratio != 0.1 {
		t.Errorf("%+v, %v", s, err)
	}
	if s, err := fromConfig(config(`{"x": 1}`), "mine"); err != nil || s.Retry.Attempts != 0 {
		t.Errorf("of another prefix: %+v, %v", s, err)
	}
	for document, want := range map[string]string{
		`{"retry": {"atempts": 2}, "timeout": {"total": 5}}`: "Config.innermesh: retry.atempts: unknown field",
		`[{"retry": {"attempts": 2}}]`:                       "Config.innermesh: ",
		`null`:                                               "Config.innermesh: ",
		`"off"`:                                              "Config.innermesh: ",
	} {
		_, err := fromConfig(config(document), "innermesh")
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "1:") {
			t.Errorf("%s: %v, want %s", document, err, want)
		}
	}
}
