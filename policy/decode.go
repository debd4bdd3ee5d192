package policy

import (
	"bytes"
	"encoding/json"
	"reflect"
	"slices"
	"strings"
)

// What a document may be at most. Consul's KV store takes 512 KiB a value.
const (
	maxBytes  = 512 << 10
	maxDepth  = 32
	maxFaults = 50
)

// Decode reads a policy document, a JSON object. source says where it comes
// from ("consul kv innermesh/services/stock", a file name) and is used in
// errors alone.
//
// It is strict, because a line that is silently ignored is found out in the
// next outage: unknown and repeated fields, null, values that say nothing
// (0, "0s", ""), trailing data, invalid UTF-8, more than 512 KiB and more than
// 32 levels of nesting are mistakes, and so is all that [Service.Validate]
// refuses. The error is a *[DocumentError] that lists every mistake (of very
// many the first 50). A refused document yields the zero Service.
func Decode(data []byte, source string) (Service, error) {
	d := decoder{data: data, at: make(map[string]int)}
	var s Service
	d.document(&s)
	if len(d.faults) > 0 {
		return Service{}, &DocumentError{Source: source, Faults: d.place()}
	}
	return s, nil
}

// decoder reads a document along the type it is for, and goes on after a
// mistake to find the next one.
//
// It walks over tokens, because [encoding/json] does not see that a key comes
// twice, does not tell where a mistake is, and stops at the first.
type decoder struct {
	data    []byte
	tokens  *json.Decoder
	depth   int            // how many objects and lists are open
	at      map[string]int // where each value of the document begins
	faults  []located
	stopped bool // nothing more can be learned from the document
}

func (d *decoder) document(s *Service) {
	if len(d.data) > maxBytes {
		d.stopf(0, "", "document has %d bytes: at most %d are allowed", len(d.data), maxBytes)
		return
	}
	if bytes.HasPrefix(d.data, []byte("\ufeff")) {
		d.stopf(0, "", "document begins with a byte order mark: save it without")
		return
	}
	if i := invalidUTF8(d.data); i >= 0 {
		d.stopf(i, "", "byte %#x is not UTF-8: save the document as UTF-8", d.data[i])
		return
	}
	if len(bytes.TrimSpace(d.data)) == 0 {
		d.stopf(0, "", "document is empty: write {} for a policy that says nothing")
		return
	}
	d.tokens = json.NewDecoder(bytes.NewReader(d.data))
	d.tokens.UseNumber()
	d.value("", reflect.ValueOf(s).Elem())
	if offset, err := syntax(d.data); err != nil {
		d.stopf(offset, "", "%v", err) // what stands after the end; the walk has told all before
	}

	var c checker
	s.check(&c)
	for _, f := range c.faults {
		// A value that could not be read is zero, and has been told of.
		at := d.at[f.Path]
		told := func(l located) bool { return l.offset == at && l.Path == f.Path }
		if !slices.ContainsFunc(d.faults, told) {
			d.faultf(at, f.Path, "%s", f.Message)
		}
	}
}

// value reads the next value of the document into v.
func (d *decoder) value(path string, v reflect.Value) {
	at := d.next()
	d.at[path] = at
	token, ok := d.token(path)
	if !ok {
		return
	}
	var wrong string
	switch to := v.Addr().Interface().(type) {
	case *Duration:
		*to, wrong = readDuration(token)
	case *Limit:
		*to, wrong = readLimit(token)
	case *int:
		*to, wrong = readInt(token)
	case *float64:
		*to, wrong = readFloat(token)
	case *string:
		*to, wrong = readString(token)
	case *bool:
		*to, wrong = readBool(token)
	default:
		if wrong = d.composite(path, token, v); wrong == "" {
			return
		}
	}
	if wrong != "" {
		d.faultf(at, path, "%s", wrong)
	}
	d.skip(path, token)
}

// composite reads a value that holds others, if token begins one of its kind.
func (d *decoder) composite(path string, token json.Token, v reflect.Value) (wrong string) {
	switch kind := v.Kind(); {
	case kind == reflect.Slice && token == json.Delim('['):
		d.list(path, v)
	case kind == reflect.Slice:
		return mismatch(token, "a list")
	case token != json.Delim('{'):
		return mismatch(token, "an object")
	case kind == reflect.Map:
		d.entries(path, v)
	default:
		d.object(path, v)
	}
	return ""
}

// object reads the fields of an object, whose brace has been read.
func (d *decoder) object(path string, v reflect.Value) {
	fields := fieldsOf(v.Type())
	seen := make([]bool, len(fields))
	d.keys(path, func(at int, name string) {
		i := slices.IndexFunc(fields, func(f field) bool { return f.name == name })
		switch {
		case i < 0:
			names := namesOf(fields)
			d.faultf(at, member(path, name), "unknown field: %sallowed here: %s", meant(path, name, names), strings.Join(names, ", "))
			d.ignore(path)
		case seen[i]:
			d.twice(at, path, name)
		default:
			seen[i] = true
			d.value(member(path, name), v.FieldByIndex(fields[i].index))
		}
	})
}

// entries reads an object whose keys are its author's, whose brace has been
// read.
func (d *decoder) entries(path string, v reflect.Value) {
	v.Set(reflect.MakeMap(v.Type())) // an empty one says that there is none
	d.keys(path, func(at int, name string) {
		key := reflect.ValueOf(name)
		if v.MapIndex(key).IsValid() {
			d.twice(at, path, name)
			return
		}
		value := reflect.New(v.Type().Elem()).Elem()
		d.value(member(path, name), value)
		v.SetMapIndex(key, value)
	})
}

// keys goes over the keys of an object, to the end of it. read must read the
// value.
func (d *decoder) keys(path string, read func(at int, name string)) {
	for d.more() {
		at := d.next()
		token, ok := d.token(path)
		if !ok {
			return
		}
		name, _ := token.(string) // a key, or token would have refused it
		read(at, name)
	}
	d.token(path)
}

func (d *decoder) twice(at int, path, name string) {
	d.faultf(at, member(path, name), "said twice in one object: keep one")
	d.ignore(path)
}

// list reads the values of a list, whose bracket has been read.
func (d *decoder) list(path string, v reflect.Value) {
	v.Set(reflect.MakeSlice(v.Type(), 0, 0)) // an empty one says that there is none
	for i := 0; d.more(); i++ {
		value := reflect.New(v.Type().Elem()).Elem()
		d.value(element(path, i), value)
		v.Set(reflect.Append(v, value))
	}
	d.token(path)
}

// ignore reads over the next value.
func (d *decoder) ignore(path string) {
	if token, ok := d.token(path); ok {
		d.skip(path, token)
	}
}

// skip reads over the rest of the value that begins with this token.
func (d *decoder) skip(path string, token json.Token) {
	if token != json.Delim('{') && token != json.Delim('[') {
		return
	}
	for outside := d.depth - 1; d.depth > outside; {
		if _, ok := d.token(path); !ok {
			return
		}
	}
}

// token returns the next token. If there is none to be had, because the
// document is not JSON from here on or too deep, it notes that and returns
// false.
func (d *decoder) token(path string) (json.Token, bool) {
	if d.stopped {
		return nil, false
	}
	at := d.next()
	token, err := d.tokens.Token()
	if err != nil {
		// The decoder's own offset is that of the token; the exact one, and
		// the same words for all syntax errors, come from reading it whole.
		if offset, exact := syntax(d.data); exact != nil {
			at, err = offset, exact
		}
		d.stopf(at, path, "%v", err)
		return nil, false
	}
	switch token {
	case json.Delim('{'), json.Delim('['):
		d.depth++
	case json.Delim('}'), json.Delim(']'):
		d.depth--
	}
	if d.depth > maxDepth {
		d.stopf(at, path, "nested deeper than %d levels", maxDepth)
		return nil, false
	}
	return token, true
}

func (d *decoder) more() bool { return !d.stopped && d.tokens.More() }

// next returns where the next token begins.
func (d *decoder) next() int {
	rest := d.data[d.tokens.InputOffset():]
	return len(d.data) - len(bytes.TrimLeft(rest, " \t\r\n,:"))
}
