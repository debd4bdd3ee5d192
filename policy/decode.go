package policy

import (
	"bytes"
	"errors"
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

var errTooDeep = errors.New("nested deeper than 32 levels")

// Decode reads a policy document, an object in JSON or YAML: what begins with a
// brace is JSON. source says where it comes from ("consul kv
// innermesh/services/stock", a file name) and is used in errors alone.
//
// It is strict, because a line that is silently ignored is found out in the
// next outage: unknown and repeated fields, null, values that say nothing
// (0, "0s", ""), trailing data, invalid UTF-8, more than 512 KiB and more than
// 32 levels of nesting are mistakes, and so is all that [Service.Validate]
// refuses. Of YAML it takes what JSON could say too: no anchors, aliases, merge
// keys, tags and directives, and no second document. Words that readers of YAML
// take for different things (yes, 017, 12:30) must be in quotes where a string
// is meant; off, where it is allowed, needs none.
//
// The error is a *[DocumentError] that lists every mistake (of very many the
// first 50; of what is no YAML the first alone). A refused document yields the
// zero Service.
//
// A field "$schema" at the top is for editors and says nothing.
func Decode(data []byte, source string) (Service, error) {
	var s Service
	if err := decode(data, source, &s, func(c *checker) { s.check(c) }); err != nil {
		return Service{}, err
	}
	return s, nil
}

// decode reads a document into v, and checks what was read.
func decode(data []byte, source string, v any, check func(*checker)) error {
	to := reflect.ValueOf(v).Elem()
	d := decoder{report: &report{data: data}, at: make(map[string]int), root: to.Type()}
	if d.readable() {
		d.value("", parse(d.report), to)
		d.checked(check)
	}
	if len(d.faults) > 0 {
		return &DocumentError{Source: source, Faults: d.place()}
	}
	return nil
}

// decoder reads a tree along the type it is for, and goes on after a mistake to
// find the next one.
type decoder struct {
	*report
	at map[string]int // where each value of the document begins
	// root and policy are the type and the path of the policy that is being read,
	// or those of the whole document: where guesses look for a field.
	root   reflect.Type
	policy string
}

// readable refuses what is not worth a look at its values.
func (d *decoder) readable() bool {
	if len(d.data) > maxBytes {
		d.faultf(0, "", "document has %d bytes: at most %d are allowed", len(d.data), maxBytes)
		return false
	}
	switch bad := invalidUTF8(d.data); {
	case bytes.HasPrefix(d.data, []byte("\ufeff")):
		d.faultf(0, "", "document begins with a byte order mark: save it without")
	case bad >= 0:
		d.faultf(bad, "", "byte %#x is not UTF-8: save the document as UTF-8", d.data[bad])
	case len(bytes.TrimSpace(d.data)) == 0:
		d.faultf(0, "", "%s", emptyDocument)
	}
	return len(d.faults) == 0
}

const emptyDocument = "document is empty: write {} for a policy that says nothing"

func (d *decoder) checked(check func(*checker)) {
	var c checker
	check(&c)
	for _, f := range c.faults {
		// A value that could not be read is zero, and has been told of.
		at := d.at[f.Path]
		told := func(l located) bool { return l.offset == at && l.Path == f.Path }
		if !slices.ContainsFunc(d.faults, told) {
			d.faultf(at, f.Path, "%s", f.Message)
		}
	}
}

// value reads a node into v.
func (d *decoder) value(path string, n node, v reflect.Value) {
	d.at[path] = n.at
	if n.kind == unread || d.full {
		return
	}
	var wrong string
	switch to := v.Addr().Interface().(type) {
	case *Duration:
		*to, wrong = readDuration(n)
	case *Limit:
		*to, wrong = readLimit(n)
	case *int:
		*to, wrong = readInt(n)
	case *float64:
		*to, wrong = readFloat(n)
	case *string:
		*to, wrong = readString(n)
	case *bool:
		*to, wrong = readBool(n)
	default:
		wrong = d.composite(path, n, v)
	}
	if wrong != "" {
		d.faultf(n.at, path, "%s", wrong)
	}
}

// composite reads a value that holds others, if the node is one of its kind.
func (d *decoder) composite(path string, n node, v reflect.Value) (wrong string) {
	switch of := v.Kind(); {
	case of == reflect.Slice && n.kind == list:
		d.list(path, n, v)
	case of == reflect.Slice:
		return mismatch(n, "a list")
	case n.kind != object:
		return mismatch(n, "an object")
	case of == reflect.Map:
		d.entries(path, n, v)
	default:
		d.object(path, n, v)
	}
	return ""
}

// object reads the fields of an object.
func (d *decoder) object(path string, n node, v reflect.Value) {
	if v.Type() == reflect.TypeFor[Service]() {
		defer func(policy string, root reflect.Type) { d.policy, d.root = policy, root }(d.policy, d.root)
		d.policy, d.root = path, v.Type()
	}
	fields := fieldsOf(v.Type())
	seen := make(map[string]bool, len(n.keys))
	for j, k := range n.keys {
		i := slices.IndexFunc(fields, func(f field) bool { return f.name == k.name })
		switch at := member(path, k.name); {
		case d.full:
			return
		case path == "" && k.name == schemaKey:
			d.schemaKey(k, n.items[j], seen)
		case i < 0:
			names := namesOf(fields)
			d.faultf(k.at, at, "unknown field: %sallowed here: %s", meant(path, k.name, names, d.elsewhere()), strings.Join(names, ", "))
		case seen[k.name]:
			d.twice(k, path)
		default:
			d.value(at, n.items[j], v.FieldByIndex(fields[i].index))
		}
		seen[k.name] = true
	}
}

// entries reads an object whose keys are its author's.
func (d *decoder) entries(path string, n node, v reflect.Value) {
	v.Set(reflect.MakeMap(v.Type())) // an empty one says that there is none
	for j, k := range n.keys {
		if d.full {
			return
		}
		name := reflect.ValueOf(k.name)
		if v.MapIndex(name).IsValid() {
			d.twice(k, path)
			continue
		}
		value := reflect.New(v.Type().Elem()).Elem()
		d.value(member(path, k.name), n.items[j], value)
		v.SetMapIndex(name, value)
	}
}

// list reads the values of a list.
func (d *decoder) list(path string, n node, v reflect.Value) {
	v.Set(reflect.MakeSlice(v.Type(), 0, 0)) // an empty one says that there is none
	for i, item := range n.items {
		if d.full {
			return
		}
		value := reflect.New(v.Type().Elem()).Elem()
		d.value(element(path, i), item, value)
		v.Set(reflect.Append(v, value))
	}
}

// schemaKey is the field by which a document tells an editor what may be in it.
const schemaKey = "$schema"

func (d *decoder) schemaKey(k key, n node, seen map[string]bool) {
	_, wrong := readString(n)
	switch {
	case seen[k.name]:
		d.twice(k, "")
	case n.kind != unread && wrong != "":
		d.faultf(n.at, member("", k.name), "%s", wrong)
	}
}

func (d *decoder) twice(k key, path string) {
	d.faultf(k.at, member(path, k.name), "said twice in one object: keep one")
}

// elsewhere returns the paths of all fields that the document can have, those in
// lists and of other services left out.
func (d *decoder) elsewhere() []string {
	all := paths(d.root, "")
	for i, p := range all {
		all[i] = below(d.policy, p)
	}
	return all
}
