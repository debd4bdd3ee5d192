package policy

import (
	"encoding/json"
	"errors"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/google/jsonschema-go/jsonschema"
)

// schemaOf makes the schema of a document: what the types say of its form, and
// their comments of its meaning. What only values together can break is left to
// [Decode].
func schemaOf(t *testing.T, name string, of reflect.Type) *jsonschema.Schema {
	m := schemaMaker{types: readTypes(t), words: words(), defs: make(map[string]*jsonschema.Schema)}
	s := m.object(of)
	s.Schema = "https://json-schema.org/draft/2020-12/schema"
	s.ID = schemaBase + name
	s.Properties[schemaKey] = &jsonschema.Schema{Type: "string", MinLength: new(1), Description: "Where this schema is, for editors."}
	s.PropertyOrder = append([]string{schemaKey}, s.PropertyOrder...)
	s.Defs = m.defs
	return s
}

type schemaMaker struct {
	types map[string]typeText
	words map[string][]string
	defs  map[string]*jsonschema.Schema
}

func (m *schemaMaker) object(of reflect.Type) *jsonschema.Schema {
	s := &jsonschema.Schema{
		Type: "object", Title: of.Name(), Description: prose(m.types[of.Name()].doc),
		Properties: make(map[string]*jsonschema.Schema), AdditionalProperties: &jsonschema.Schema{Not: &jsonschema.Schema{}},
	}
	for _, f := range fieldsOf(of) {
		owner := ownerOf(of, f).Name()
		p := m.value(f.Type, m.words[owner+"."+f.Name])
		if text := m.types[owner].fields[f.Name]; text != "" {
			p.Description = prose(text)
			if c, ok := parseComment(text); ok {
				p.Description = c.meaning + " Default: " + c.byDefault + "."
				p.Examples = []any{json.RawMessage(c.example)}
			}
		}
		s.Properties[f.name] = p
		s.PropertyOrder = append(s.PropertyOrder, f.name)
	}
	return s
}

func (m *schemaMaker) value(of reflect.Type, words []string) *jsonschema.Schema {
	zero := &jsonschema.Schema{Const: new(any(0))} // says nothing
	switch {
	case of == reflect.TypeFor[Duration]():
		return &jsonschema.Schema{Type: "string", Pattern: `^(off|[-+]?(([0-9]+\.?[0-9]*|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))+)$`}
	case of == reflect.TypeFor[Limit]():
		return &jsonschema.Schema{AnyOf: []*jsonschema.Schema{
			{Type: "integer", Minimum: new(1.0)}, {Enum: []any{"off", "none", -1}},
		}}
	case of.Kind() == reflect.Slice:
		return &jsonschema.Schema{Type: "array", Items: m.value(of.Elem(), words)}
	case of.Kind() == reflect.Map:
		return &jsonschema.Schema{
			Type: "object", PropertyNames: &jsonschema.Schema{MinLength: new(1)}, AdditionalProperties: m.value(of.Elem(), nil),
		}
	case of.Kind() == reflect.Struct:
		if _, known := m.defs[of.Name()]; !known {
			m.defs[of.Name()] = nil // it may hold itself
			m.defs[of.Name()] = m.object(of)
		}
		return &jsonschema.Schema{Ref: "#/$defs/" + of.Name()}
	case of.Kind() == reflect.Int:
		return &jsonschema.Schema{Type: "integer", Not: zero}
	case of.Kind() == reflect.Float64:
		return &jsonschema.Schema{Type: "number", Not: zero}
	case of.Kind() == reflect.Bool:
		return &jsonschema.Schema{Type: "boolean"}
	default:
		s := &jsonschema.Schema{Type: "string", MinLength: new(1)}
		for _, w := range words {
			s.Enum, s.MinLength = append(s.Enum, w), nil
		}
		return s
	}
}

// prose is a comment as one line, without references that only Go has.
func prose(comment string) string {
	return strings.NewReplacer("[", "", "]", "").Replace(strings.Join(strings.Fields(comment), " "))
}

var knownWords = regexp.MustCompile(`^"\?" is not known: must be (.*)$`)

// words returns the fields that take one of a few words, and the words, as the
// refusal of any other tells them.
func words() map[string][]string {
	all := make(map[string][]string)
	eachField(reflect.TypeFor[Service](), "", func(f field, owner reflect.Type, path string) {
		value := `"?"`
		if f.Type.Kind() == reflect.Slice {
			value = `["?"]`
		}
		_, err := Decode([]byte(document(path, value)), "test")
		refused, _ := errors.AsType[*DocumentError](err)
		if refused == nil {
			return
		}
		for _, fault := range refused.Faults {
			if m := knownWords.FindStringSubmatch(fault.Message); m != nil {
				all[owner.Name()+"."+f.Name] = strings.Split(strings.Trim(m[1], `"`), `" or "`)
			}
		}
	})
	return all
}
