package policy

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

var update = flag.Bool("update", false, "rewrite golden files and docs/policy.md")

func TestDecode(t *testing.T) {
	got, err := Decode([]byte(`
		{"timeout": {"total": "2s", "perTry": "off"},
		 "retry": {"attempts": 2, "methods": [], "budget": {"ratio": -1}},
		 "balancer": {"policy": "round_robin"},
		 "breaker": {"failureRatio": 2.5e-1, "failures": -1},
		 "http": {}}`), "test")
	want := Service{
		Timeout:  Timeout{Total: seconds(2), PerTry: Off},
		Retry:    Retry{Attempts: 2, Methods: []string{}, Budget: Budget{Ratio: -1}},
		Balancer: Balancer{Policy: RoundRobin},
		Breaker:  Breaker{FailureRatio: 0.25, Failures: -1},
	}
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestDecodeRefused compares what is said about each bad document of testdata
// with the golden text beside it.
func TestDecodeRefused(t *testing.T) {
	for path, data := range testDocuments(t, "refused") {
		name := strings.TrimSuffix(filepath.Base(path), ".json")
		t.Run(name, func(t *testing.T) {
			s, err := Decode(data, name)
			if err == nil {
				t.Fatalf("accepted as %+v", s)
			}
			if !reflect.ValueOf(s).IsZero() {
				t.Errorf("the refused document still gave %+v", s)
			}
			golden(t, strings.TrimSuffix(path, ".json")+".golden", err.Error()+"\n")
		})
	}
}

func TestDecodeBounds(t *testing.T) {
	full := func(n int) string { return "{" + strings.Repeat(" ", n-2) + "}" }
	nested := func(n int) string {
		return `{"x":` + strings.Repeat("[", n-1) + strings.Repeat("]", n-1) + "}"
	}
	unknown := func(n int) string {
		fields := make([]string, n)
		for i := range fields {
			fields[i] = fmt.Sprintf(`"x%d":0`, i)
		}
		return "{" + strings.Join(fields, ",") + "}"
	}
	for name, test := range map[string]struct {
		doc    string
		faults int
		last   string // how the last message begins
	}{
		"largest":         {full(maxBytes), 0, ""},
		"too large":       {full(maxBytes + 1), 1, "document has 524289 bytes"},
		"deepest":         {nested(maxDepth), 1, "unknown field"},
		"too deep":        {nested(maxDepth + 1), 2, "nested deeper than 32 levels"},
		"deepest YAML":    {"x: " + nested(maxDepth)[5:2*maxDepth+3], 1, "unknown field"},
		"too deep YAML":   {"x: " + nested(maxDepth + 1)[5:2*maxDepth+5], 2, "nested deeper than 32 levels"},
		"very deep YAML":  {"x: " + strings.Repeat("[", 1000), 1, "nested deeper than 32 levels"},
		"deep by dashes":  {strings.Repeat("- ", 1000), 1, "nested deeper than 32 levels"},
		"far too deep":    {strings.Repeat("[", maxBytes), 2, "nested deeper than 32 levels"},
		"most mistakes":   {unknown(maxFaults), maxFaults, "unknown field"},
		"more mistakes":   {unknown(maxFaults + 7), maxFaults + 1, "and more"},
		"many bad values": {`{"retry": {"methods": [` + strings.Repeat(`"x",`, 100_000) + `"x"]}}`, maxFaults + 1, "and more"},
		"enormous name":   {`{"` + strings.Repeat("x", 400_000) + `": 1}`, 1, "unknown field"},
		"enormous value":  {`{"balancer": {"policy": "` + strings.Repeat("é", 200_000) + `"}}`, 1, `"éé`},
		"enormous number": {`{"retry": {"attempts": ` + strings.Repeat("9", 400_000) + `}}`, 1, "9999"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Decode([]byte(test.doc), "test")
			if test.faults == 0 {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			refused, ok := errors.AsType[*DocumentError](err)
			if !ok {
				t.Fatalf("got %v, want a *DocumentError", err)
			}
			if n := len(refused.Faults); n != test.faults {
				t.Errorf("%d faults, want %d", n, test.faults)
			}
			if last := refused.Faults[len(refused.Faults)-1].Message; !strings.HasPrefix(last, test.last) {
				t.Errorf("the last is %q, want %q…", last, test.last)
			}
			if n := len(err.Error()); n > 20_000 {
				t.Errorf("the error has %d bytes", n)
			}
		})
	}
}

func TestDocumentErrorUnwraps(t *testing.T) {
	_, err := Decode([]byte(`{"retry":`+"\n"+` {"attempts": 900}}`), "kv stock")
	got, ok := errors.AsType[Fault](err)
	want := Fault{Path: "retry.attempts", Line: 2, Column: 15, Message: "900 is out of range: must be 1 to 100"}
	if !ok || got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestDecodeReadsWhatIsEncoded(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := validService().Draw(t, "service")
		data, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		got, err := Decode(data, "test")
		if err != nil {
			t.Fatalf("%s: %v", data, err)
		}
		if diff := cmp.Diff(s, got); diff != "" {
			t.Fatalf("%s: %s", data, diff)
		}
	})
}

func FuzzDecode(f *testing.F) {
	for _, folder := range []string{"refused", "good"} {
		for _, data := range testDocuments(f, folder) {
			f.Add(data)
		}
	}
	all, err := json.Marshal(Default())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(all)
	f.Add([]byte(`{"timeout":{"perTry":"off"},"retry":{"methods":["/a.B/*"]}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		if _, err := DecodeDocuments(data, "fuzz"); err != nil {
			wellPlaced(t, data, err)
		}
		s, err := Decode(data, "fuzz")
		if err != nil {
			wellPlaced(t, data, err)
			return
		}
		if isJSON(data) && !json.Valid(data) {
			t.Fatalf("accepted what is no JSON: %q", data)
		}
		if err := s.Validate(); err != nil {
			t.Fatalf("accepted what is not valid: %v", err)
		}
		again, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		back, err := Decode(again, "again")
		if err != nil {
			t.Fatalf("%q was accepted, but not %q: %v", data, again, err)
		}
		if diff := cmp.Diff(s, back); diff != "" {
			t.Fatalf("%q: %s", data, diff)
		}
	})
}

// wellPlaced checks that every fault lies within the document, in its order.
func wellPlaced(t *testing.T, data []byte, err error) {
	refused := refusal(t, err)
	lines := strings.Split(string(data), "\n")
	var before Fault
	for _, f := range refused.Faults {
		if f.Message == "" || f.Line < max(before.Line, 1) || f.Line > len(lines) ||
			f.Column < 1 || f.Column > len([]rune(lines[f.Line-1]))+1 ||
			f.Line == before.Line && f.Column < before.Column {
			t.Fatalf("%+v after %+v does not fit %q", f, before, data)
		}
		before = f
	}
}

// testDocuments returns the documents of a folder of testdata by their paths.
func testDocuments(tb testing.TB, folder string) map[string][]byte {
	tb.Helper()
	docs := make(map[string][]byte)
	for _, ending := range []string{"*.json", "*.yaml"} {
		found, err := filepath.Glob(filepath.Join("testdata", folder, ending))
		if err != nil {
			tb.Fatal(err)
		}
		for _, path := range found {
			if docs[path], err = os.ReadFile(path); err != nil {
				tb.Fatal(err)
			}
		}
	}
	if len(docs) == 0 {
		tb.Fatalf("no documents in %s", folder)
	}
	return docs
}

func refusal(t *testing.T, err error) *DocumentError {
	t.Helper()
	refused, ok := errors.AsType[*DocumentError](err)
	if !ok || len(refused.Faults) == 0 {
		t.Fatalf("got %v, want a *DocumentError with faults", err)
	}
	return refused
}

// golden compares got with a file, or writes the file with -update.
func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v (run the tests with -update to write it)", err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s has changed; if that is right, run the tests with -update:\n%s", path, diff)
	}
}
