package policy

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The text around the tables of docs/policy.md.
const (
	docsHead = `# Policy documents

<!-- Generated from the comments in policy/*.go: go test ./policy -run TestDocs -update -->

A policy document is a JSON object that says how a service is called. It holds
only what differs: a field that is left out is decided by the layer below, and
at the bottom lies the built-in default.

- A duration is a string with a unit, such as "250ms", "2s" or "1m30s". A bare
  number is refused.
- Where a thing can be switched off, a negative value does it: -1 for numbers,
  "off" for durations.
- Zero, the empty string and null are refused: they would not say whether "off"
  or "not said" is meant. The empty list is allowed.
- Unknown and repeated fields are mistakes. A document with a mistake is refused
  as a whole, with a list of all of them, each with its line and column.
- 512 KiB and 32 levels of nesting are the most.
`
	docsTail = `
## The built-in default

` + "```json\n%s\n```\n"
)

// TestDocs fails when docs/policy.md is not what the field comments say.
func TestDocs(t *testing.T) {
	types := readTypes(t)
	var b strings.Builder
	b.WriteString(docsHead)
	writeSections(&b, types, reflect.TypeFor[Service](), "")
	all, err := json.MarshalIndent(Default(), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(&b, docsTail, all)
	golden(t, filepath.FromSlash("../docs/policy.md"), b.String())
}

// TestDocsAreTrue holds the default and the example in each field's comment
// against the code.
func TestDocsAreTrue(t *testing.T) {
	types := readTypes(t)
	eachField(reflect.TypeFor[Service](), "", func(owner reflect.Type, i int, path string) {
		text, ok := parseComment(types[owner.Name()].fields[owner.Field(i).Name])
		if !ok {
			t.Errorf("%s: its comment does not end with a line \"Default: …. Example: ….\"", path)
			return
		}
		value, err := json.Marshal(fieldAt(Default(), path).Interface())
		if err != nil {
			t.Fatal(err)
		}
		if want := strings.Trim(string(value), `"`); path != "timeout.perTry" && text.byDefault != want {
			t.Errorf("%s: the comment calls %s the default, it is %s", path, text.byDefault, want)
		}
		doc := text.example
		for _, name := range slices.Backward(strings.Split(path, ".")) {
			doc = fmt.Sprintf("{%q: %s}", name, doc)
		}
		s, err := Decode([]byte(doc), "example")
		if err != nil {
			t.Errorf("%s: %v", path, err)
			return
		}
		e := Merge(Layer{"built-in", Default()}, Layer{"example", s})
		if err := e.Validate(); err != nil || e.Origin(path) != "example" {
			t.Errorf("%s: the example %s: %v", path, doc, err)
		}
		if reflect.DeepEqual(fieldAt(s, path).Interface(), fieldAt(Default(), path).Interface()) {
			t.Errorf("%s: the example is the default", path)
		}
	})
}

// comment is what the comment of a field tells.
type comment struct{ meaning, byDefault, example string }

var commentForm = regexp.MustCompile(`^(.*) Default: (.*)\. Example: (.*)\.$`)

func parseComment(text string) (comment, bool) {
	m := commentForm.FindStringSubmatch(text)
	if m == nil {
		return comment{}, false
	}
	_, meaning, _ := strings.Cut(m[1], " ") // without the Go name it begins with
	meaning = strings.TrimPrefix(meaning, "is ")
	return comment{strings.ToUpper(meaning[:1]) + meaning[1:], m[2], m[3]}, true
}

func writeSections(b *strings.Builder, types map[string]typeText, t reflect.Type, path string) {
	if path != "" {
		fmt.Fprintf(b, "\n## %s\n\n%s\n", path, types[t.Name()].doc)
		b.WriteString("\n| field | type | default | example | meaning |\n|---|---|---|---|---|\n")
	}
	for i := range t.NumField() {
		f := t.Field(i)
		if c, ok := parseComment(types[t.Name()].fields[f.Name]); ok {
			fmt.Fprintf(b, "| `%s` | %s | %s | `%s` | %s |\n", fieldName(t, i), typeNames[f.Type], c.byDefault, c.example, c.meaning)
		}
	}
	for i := range t.NumField() {
		if f := t.Field(i); f.Type.Kind() == reflect.Struct {
			writeSections(b, types, f.Type, member(path, fieldName(t, i)))
		}
	}
}

var typeNames = map[reflect.Type]string{
	reflect.TypeFor[Duration](): "duration",
	reflect.TypeFor[int]():      "whole number",
	reflect.TypeFor[float64]():  "number",
	reflect.TypeFor[string]():   "string",
	reflect.TypeFor[[]string](): "list of strings",
}

// eachField visits every field that holds a value.
func eachField(t reflect.Type, path string, visit func(owner reflect.Type, i int, path string)) {
	for i := range t.NumField() {
		p := member(path, fieldName(t, i))
		if f := t.Field(i); f.Type.Kind() == reflect.Struct {
			eachField(f.Type, p, visit)
		} else {
			visit(t, i, p)
		}
	}
}

// typeText is a struct as its source tells of it.
type typeText struct {
	doc    string
	fields map[string]string // each comment on one line
}

func readTypes(t *testing.T) map[string]typeText {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	types := make(map[string]typeText)
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		for _, decl := range file.Decls {
			d, ok := decl.(*ast.GenDecl)
			if !ok || d.Tok != token.TYPE {
				continue
			}
			for _, spec := range d.Specs {
				s := spec.(*ast.TypeSpec)
				if fields, ok := s.Type.(*ast.StructType); ok {
					types[s.Name.Name] = typeText{strings.TrimSpace(d.Doc.Text()), fieldComments(fields)}
				}
			}
		}
	}
	return types
}

func fieldComments(s *ast.StructType) map[string]string {
	comments := make(map[string]string)
	for _, f := range s.Fields.List {
		for _, name := range f.Names {
			comments[name.Name] = strings.Join(strings.Fields(f.Doc.Text()), " ")
		}
	}
	return comments
}
