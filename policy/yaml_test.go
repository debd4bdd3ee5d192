package policy

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v4"
	"pgregory.net/rapid"
)

func TestDecodeYAML(t *testing.T) {
	docs := testDocuments(t, "good")
	for path, data := range docs {
		t.Run(filepath.Base(path), func(t *testing.T) {
			got, err := Decode(data, path)
			if err != nil {
				t.Fatal(err)
			}
			twin, ok := docs[strings.TrimSuffix(path, ".yaml")+".json"]
			if !ok || strings.HasSuffix(path, ".json") {
				return
			}
			want, err := Decode(twin, path)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestSameMistakes holds each refused document in YAML against its twin in
// JSON: the same fields, the same words.
func TestSameMistakes(t *testing.T) {
	docs := testDocuments(t, "refused")
	for path, data := range docs {
		twin, ok := docs[strings.TrimSuffix(path, ".yaml")+".json"]
		if strings.HasSuffix(path, ".json") || !ok {
			continue
		}
		t.Run(filepath.Base(path), func(t *testing.T) {
			got, want := faultsOf(t, data), faultsOf(t, twin)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestYAMLSaysTheSame writes valid policies as YAML in all styles.
func TestYAMLSaysTheSame(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := validService().Draw(t, "service")
		data, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		r := &report{data: data}
		in, err := yaml.Dump(written(t, parseJSON(r)))
		if err != nil || len(r.faults) > 0 {
			t.Fatal(err, r.faults)
		}
		if s := string(in); s[0] == '{' { // would be taken for JSON
			in = []byte("--- " + s)
		}
		got, err := Decode(in, "test")
		if err != nil {
			t.Fatalf("%s: %v", in, err)
		}
		if diff := cmp.Diff(s, got); diff != "" {
			t.Fatalf("%s: %s", in, diff)
		}
	})
}

// written is a tree as the library writes it, in a style that is drawn.
func written(t *rapid.T, n node) *yaml.Node {
	y := &yaml.Node{Kind: yaml.ScalarNode, Value: n.text}
	switch n.kind {
	case list, object:
		y.Kind, y.Style = yaml.SequenceNode, rapid.SampledFrom([]yaml.Style{0, yaml.FlowStyle}).Draw(t, "collection")
		if n.kind == object {
			y.Kind = yaml.MappingNode
		}
		for i, item := range n.items {
			if n.kind == object {
				y.Content = append(y.Content, written(t, node{kind: text, text: n.keys[i].name}))
			}
			y.Content = append(y.Content, written(t, item))
		}
	case text:
		y.Tag = "!!str"
		y.Style = rapid.SampledFrom([]yaml.Style{
			0, yaml.DoubleQuotedStyle, yaml.SingleQuotedStyle, yaml.LiteralStyle, yaml.FoldedStyle,
		}).Draw(t, "text")
	default: // written as it is spelled
	}
	return y
}

// TestHugeYAML gives the library what is made to keep a reader busy: were the
// work to grow faster than the document, this would last for minutes.
func TestHugeYAML(t *testing.T) {
	const size = maxBytes / 8
	for name, unit := range map[string]string{
		"lists in a line": "- ", "questions": "? ", "open lists": "a: [", "list": "a, ", "lists": "[],", "commas": ",",
		"anchors": "- &a 1\n", "aliases": "- *a\n", "colons": ": ", "keys": "a: 1\n", "nested keys": "a: ", "comments": "- 1 # c\n",
		"documents": "---\n", "tags": "- !a 1\n", "literals": "- |\n", "blocks": "- |\n  \n", "words": "a\n", "spaces": " ", "quotes": `- "a" `,
		"flow with lines": "a,\n", "directives": "%TAG !a! b\n", "braces": "a: {", "nothing": "\n", "dates": "- 2026-11-25 ",
	} {
		t.Run(name, func(t *testing.T) {
			for _, begin := range []string{"a: ", "- [", "a:\n", "- &a {x: 1}\n"} {
				doc := begin + strings.Repeat(unit, (size-len(begin))/len(unit))
				if _, err := Decode([]byte(doc), "test"); err == nil {
					t.Errorf("accepted %q and more", doc[:60])
				} else if len(err.Error()) > 20_000 {
					t.Errorf("the error has %d bytes", len(err.Error()))
				}
			}
		})
	}
}

// faultsOf returns what is wrong with a document, without its places.
func faultsOf(t *testing.T, data []byte) (faults []string) {
	t.Helper()
	s, err := Decode(data, "test")
	if err == nil {
		t.Fatalf("accepted as %+v", s)
	}
	for _, f := range refusal(t, err).Faults {
		f.Line, f.Column = 0, 0
		faults = append(faults, f.Error())
	}
	return faults
}
