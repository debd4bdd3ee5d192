package policy

import (
	"encoding/json"
	"errors"
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

A policy document is an object, in JSON or YAML, that says how a service is
called. It holds only what differs: a field that is left out is decided by the
layer below, and at the bottom lies the built-in default.

` + "```yaml" + `
timeout: {total: 2s}
retry:
  attempts: 2
  methods: [/stock.v1.Stock/Get]
` + "```" + `

- What begins with a brace is JSON to its end; all else is YAML. Of YAML only
  what JSON can say is taken: no anchors, aliases, merge keys, tags, directives
  and second documents. Words that readers of YAML take for different things
  (yes, 017, 12:30, 2026-11-25) must be in quotes where a string is meant.
- A duration is a string with a unit, such as "250ms", "2s" or "1m30s". A bare
  number is refused.
- Where a thing can be switched off, a negative value does it: -1 for numbers,
  "off" for durations (in YAML with quotes or without).
- Zero, the empty string and null are refused: they would not say whether "off"
  or "not said" is meant. The empty list is allowed.
- Unknown and repeated fields are mistakes. A document with a mistake is refused
  as a whole, with a list of all of them, each with its line and column.
- 512 KiB and 32 levels of nesting are the most.

Editors check and complete documents by the schema
[policy.schema.json](policy.schema.json): let a field "$schema" at the top say
where it is, or in YAML a first line
` + "`# yaml-language-server: $schema=…`" + `. The schema knows the form alone;
what is accepted is decided when a document is read, and go test can do that
with policy.Decode.

A file for several services ([policy-file.schema.json](policy-file.schema.json))
holds a policy for all, and one for each by its logical name. It is followed
while it is in use. A change with a mistake anywhere is refused as a whole.

` + "```yaml" + `
$schema: ` + schemaBase + `policy-file.schema.json
defaults:
  timeout: {total: 2s}
services:
  stock:
    limits: {concurrency: 200}
` + "```" + `
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
	eachField(reflect.TypeFor[Service](), "", func(f field, owner reflect.Type, path string) {
		text, ok := parseComment(types[owner.Name()].fields[f.Name])
		if !ok {
			t.Errorf("%s: its comment does not end with a line \"Default: …. Example: ….\"", path)
			return
		}
		if inList := strings.ContainsAny(path, "[{"); inList {
			exampleInList(t, path, text.example)
			return
		}
		value, err := json.Marshal(fieldAt(Default(), path).Interface())
		if err != nil {
			t.Fatal(err)
		}
		if want := strings.Trim(string(value), `"`); path != "timeout.perTry" && text.byDefault != want {
			t.Errorf("%s: the comment calls %s the default, it is %s", path, text.byDefault, want)
		}
		s, err := Decode([]byte(document(path, text.example)), "example")
		if err != nil {
			t.Errorf("%s: %v", path, err)
			return
		}
		e := Merge(Layer{"built-in", Default()}, Layer{"example", s})
		if err := e.Validate(); err != nil || e.Origin(path) != "example" {
			t.Errorf("%s: the example %s: %v", path, text.example, err)
		}
		if reflect.DeepEqual(fieldAt(s, path).Interface(), fieldAt(Default(), path).Interface()) {
			t.Errorf("%s: the example is the default", path)
		}
	})
}

// exampleInList reads a document that says a field of a list's element. Other
// fields may be missing; the field itself must be right.
func exampleInList(t *testing.T, path, example string) {
	t.Helper()
	_, err := Decode([]byte(document(path, example)), "example")
	if err == nil {
		return
	}
	faulty, _ := errors.AsType[*DocumentError](err)
	exact := strings.ReplaceAll(strings.ReplaceAll(path, "[]", "[0]"), "{}", ".x")
	lacks := regexp.MustCompile(`needs|nothing to take|there is no subset|not looked at here`) // what the rest would say
	for _, f := range faulty.Faults {
		if strings.HasPrefix(f.Path, exact) && !lacks.MatchString(f.Message) {
			t.Errorf("%s: the example %s: %v", path, example, f)
		}
	}
}

// document says a field alone.
func document(path, value string) string {
	for _, name := range slices.Backward(strings.Split(path, ".")) {
		name, isList := strings.CutSuffix(name, "[]")
		name, isMap := strings.CutSuffix(name, "{}")
		switch {
		case isList:
			value = "[" + value + "]"
		case isMap:
			value = `{"x": ` + value + "}"
		}
		value = fmt.Sprintf("{%q: %s}", name, value)
	}
	return value
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
	} else {
		b.WriteString("\n## The document itself\n\n| field | type | default | example | meaning |\n|---|---|---|---|---|\n")
	}
	for _, f := range fieldsOf(t) {
		text, documented := types[ownerOf(t, f).Name()].fields[f.Name]
		c, ok := parseComment(text)
		switch {
		case ok:
			fmt.Fprintf(b, "| `%s` | %s | %s | `%s` | %s |\n", f.name, typeName(f.Type), c.byDefault, strings.ReplaceAll(c.example, "|", "\\|"), c.meaning)
		case path != "" || documented && text != "":
			fmt.Fprintf(b, "| `%s` | object | | | see [%s](#%s) |\n", f.name, strings.ToLower(f.Type.Name()), anchor(f.Type, path, f.name))
		}
	}
	for _, f := range fieldsOf(t) {
		if inner, suffix := innerStruct(f.Type); inner != nil && !strings.Contains(path+".", "."+f.name+"[].") && !shownElsewhere(inner, path) {
			writeSections(b, types, inner, member(path, f.name)+suffix)
		}
	}
}

// shownElsewhere says whether a struct has a section of its own at the top of
// the document, where one that lies deeper sends its reader.
func shownElsewhere(t reflect.Type, path string) bool {
	return strings.Contains(path, "[]") && topLevel(t) != ""
}

// topLevel names the section of a struct that the document itself has.
func topLevel(t reflect.Type) string {
	for _, f := range fieldsOf(reflect.TypeFor[Service]()) {
		if f.Type == t {
			return f.name
		}
	}
	return ""
}

func anchor(t reflect.Type, path, name string) string {
	if top := topLevel(t); top != "" {
		return top
	}
	return strings.ToLower(strings.NewReplacer(".", "", "[", "", "]", "", "{", "", "}", "").Replace(member(path, name)))
}

// innerStruct is the struct that a field is or holds, and how its path goes on.
func innerStruct(t reflect.Type) (inner reflect.Type, suffix string) {
	switch {
	case t.Kind() == reflect.Struct:
		return t, ""
	case t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Struct:
		return t.Elem(), "[]"
	case t.Kind() == reflect.Map && t.Elem().Kind() == reflect.Struct:
		return t.Elem(), "{}"
	default:
		return nil, ""
	}
}

func typeName(t reflect.Type) string {
	switch {
	case t == reflect.TypeFor[Duration]():
		return "duration"
	case t == reflect.TypeFor[Limit]():
		return "limit"
	case t.Kind() == reflect.Slice:
		return "list of " + strings.TrimSuffix(typeName(t.Elem()), "s") + "s"
	case t.Kind() == reflect.Map:
		return "object of " + strings.TrimSuffix(typeName(t.Elem()), "s") + "s"
	case t.Kind() == reflect.Struct:
		return "object"
	case t.Kind() == reflect.Int:
		return "whole number"
	case t.Kind() == reflect.Float64:
		return "number"
	case t.Kind() == reflect.Bool:
		return "true or false"
	default:
		return "string"
	}
}

// eachField visits every field that holds a value, also those of what is in
// lists and maps: "routes[].match.path". A list within a list of its own kind is
// not entered again.
func eachField(t reflect.Type, path string, visit func(f field, owner reflect.Type, path string)) {
	for _, f := range fieldsOf(t) {
		p := member(path, f.name)
		inner, suffix := innerStruct(f.Type)
		if inner == nil || suffix != "" {
			visit(f, ownerOf(t, f), p)
		}
		if inner != nil && inner != t && !strings.Contains(path+".", "."+f.name+suffix+".") {
			eachField(inner, p+suffix, visit)
		}
	}
}

// ownerOf is the struct whose source declares the field.
func ownerOf(t reflect.Type, f field) reflect.Type {
	for _, i := range f.index[:len(f.index)-1] {
		t = t.Field(i).Type
	}
	return t
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
