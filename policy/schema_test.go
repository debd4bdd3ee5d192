package policy

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/jsonschema-go/jsonschema"
	"pgregory.net/rapid"
)

const schemaBase = "https://raw.githubusercontent.com/innermesh/innermesh/main/docs/"

// schemas are the published ones, by the types that they are for.
var schemas = map[string]reflect.Type{
	"policy.schema.json":      reflect.TypeFor[Service](),
	"policy-file.schema.json": reflect.TypeFor[Documents](),
}

// TestSchema fails when a published schema is not what the types and their
// comments say.
func TestSchema(t *testing.T) {
	for name, of := range schemas {
		var b bytes.Buffer
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(false)
		e.SetIndent("", "  ")
		if err := e.Encode(schemaOf(t, name, of)); err != nil {
			t.Fatal(err)
		}
		golden(t, filepath.FromSlash("../docs/"+name), b.String())
	}
}

// TestSchemaAccepts holds the schema against all that is known to be good: what
// an editor marks as wrong must not be right.
func TestSchemaAccepts(t *testing.T) {
	policy, file := published(t, "policy.schema.json"), published(t, "policy-file.schema.json")
	accept := func(t *testing.T, s *jsonschema.Resolved, what string, data []byte) {
		t.Helper()
		if err := s.Validate(asEditor(t, data)); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	for path, data := range testDocuments(t, "good") {
		accept(t, policy, path, data)
	}
	for path, data := range testDocuments(t, "documents") {
		accept(t, file, path, data)
	}
	all, err := json.Marshal(Default())
	if err != nil {
		t.Fatal(err)
	}
	accept(t, policy, "the default", all)
	accept(t, file, "an empty file", []byte("{}"))
	for _, block := range codeBlocks(t, "../docs/policy.md", "../docs/decisions/*.md", "../README.md", "doc.go") {
		if _, err := Decode([]byte(block), "docs"); err == nil {
			accept(t, policy, block, []byte(block))
		} else if _, err := DecodeDocuments([]byte(block), "docs"); err == nil {
			accept(t, file, block, []byte(block))
		} else {
			t.Errorf("an example of the documentation is refused: %v\n%s", err, block)
		}
	}
	types := readTypes(t)
	eachField(reflect.TypeFor[Service](), "", func(f field, owner reflect.Type, path string) {
		text, _ := parseComment(types[owner.Name()].fields[f.Name])
		accept(t, policy, path, []byte(document(path, text.example)))
	})
	rapid.Check(t, func(r *rapid.T) {
		s := validService().Draw(r, "service")
		data, err := json.Marshal(Documents{Defaults: s, Services: map[string]Service{"stock": s}})
		if err != nil {
			r.Fatal(err)
		}
		var v any
		if err := json.Unmarshal(data, &v); err != nil {
			r.Fatal(err)
		}
		if err := file.Validate(v); err != nil {
			r.Fatalf("%s: %v", data, err)
		}
	})
}

// TestSchemaRefuses has mistakes that an editor should mark.
func TestSchemaRefuses(t *testing.T) {
	policy, file := published(t, "policy.schema.json"), published(t, "policy-file.schema.json")
	for _, doc := range []string{
		`{"attempts": 3}`,
		`{"timeout": {"perTri": "1s"}}`,
		`{"timeout": {"total": 15}}`,
		`{"timeout": {"total": "15"}}`,
		`{"timeout": {"total": "soon"}}`,
		`{"timeout": {"total": null}}`,
		`{"timeout": "2s"}`,
		`{"retry": {"attempts": "2"}}`,
		`{"retry": {"attempts": 1.5}}`,
		`{"retry": {"attempts": 0}}`,
		`{"retry": {"on": ["5XX"]}}`, `{"routes": [{"retry": {"on": ["5XX"]}}]}`,
		`{"retry": {"methods": "/a.B/C"}}`,
		`{"retry": {"methods": [""]}}`,
		`{"balancer": {"policy": "fastest"}}`,
		`{"balancer": {"hash": {"header": "x"}}}`,
		`{"breaker": {"failureRatio": 0}}`,
		`{"limits": {"pending": "on"}}`,
		`{"limits": {"pending": 0}}`,
		`{"limits": {"pending": -2}}`,
		`{"http": {"protocol": "h2c"}}`,
		`{"subsets": {"v2": {"filters": "x"}}}`,
		`{"subsets": {"v2": "x"}}`,
		`{"routes": {"match": {}}}`,
		`{"routes": [{"to": [{"weight": "10"}]}]}`,
		`{"routes": [{"to": [{"failover": [{"failover": [{"region": "x"}]}]}]}]}`,
		`{"routes": [{"requestHeaders": {"set": {"x": 1}}}]}`,
		`{"$schema": 1}`,
		`[]`,
	} {
		if policy.Validate(asEditor(t, []byte(doc))) == nil {
			t.Errorf("accepted %s", doc)
		}
		inFile := `{"services": {"stock": ` + doc + `}}`
		if file.Validate(asEditor(t, []byte(inFile))) == nil {
			t.Errorf("accepted %s", inFile)
		}
		if _, err := Decode([]byte(doc), "test"); err == nil {
			t.Errorf("%s is no mistake", doc)
		}
	}
	for _, doc := range []string{`{"timeout": {"total": "2s"}}`, `{"services": [{}]}`, `{"services": {"": {}}}`} {
		if file.Validate(asEditor(t, []byte(doc))) == nil {
			t.Errorf("accepted %s", doc)
		}
	}
}

// published reads a schema as its users do.
func published(t *testing.T, name string) *jsonschema.Resolved {
	t.Helper()
	data, err := os.ReadFile(filepath.FromSlash("../docs/" + name))
	if err != nil {
		t.Fatal(err)
	}
	var s jsonschema.Schema
	if err := json.Unmarshal(data, &s); err != nil {
		t.Fatal(err)
	}
	r, err := s.Resolve(&jsonschema.ResolveOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// asEditor is a document as an editor sees it.
func asEditor(t *testing.T, data []byte) any {
	t.Helper()
	r := &report{data: data}
	v := asJSON(t, parse(r))
	if len(r.faults) > 0 {
		t.Fatal(r.place())
	}
	return v
}

func asJSON(t *testing.T, n node) any {
	switch n.kind {
	case object:
		m := make(map[string]any, len(n.keys))
		for i, k := range n.keys {
			m[k.name] = asJSON(t, n.items[i])
		}
		return m
	case list:
		l := make([]any, len(n.items))
		for i, item := range n.items {
			l[i] = asJSON(t, item)
		}
		return l
	case text, vague:
		return n.text
	case null:
		return nil
	default:
		var v any
		if err := json.Unmarshal([]byte(n.text), &v); err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// codeBlocks returns the examples of policies in these pages: blocks that are
// marked as JSON or YAML, in Go the indented ones that begin with a brace.
func codeBlocks(t *testing.T, patterns ...string) (blocks []string) {
	t.Helper()
	fenced := regexp.MustCompile("(?ms)^```(?:json|yaml)\n(.*?)^```$")
	indented := regexp.MustCompile(`(?m)^//\t(\{\n(?://\t.*\n)*//\t\})$`)
	for _, pattern := range patterns {
		paths, err := filepath.Glob(filepath.FromSlash(pattern))
		if err != nil || len(paths) == 0 {
			t.Fatalf("%s: %v", pattern, err)
		}
		for _, path := range paths {
			page, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range slices.Concat(fenced.FindAllSubmatch(page, -1), indented.FindAllSubmatch(page, -1)) {
				blocks = append(blocks, strings.ReplaceAll(string(m[1]), "//\t", ""))
			}
		}
	}
	if len(blocks) < 4 {
		t.Fatalf("%d examples are too few: has their form changed?", len(blocks))
	}
	return blocks
}
