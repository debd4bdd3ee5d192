package policy

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
)

// Merging and decoding go over the fields by reflection: written out by hand,
// each new field would have to be added in three places, and one forgotten
// would be ignored without a word.

// field is one field of an object as documents have it.
type field struct {
	reflect.StructField
	name  string
	index []int // see [reflect.Value.FieldByIndex]
}

// known remembers fields: they are asked for with every merge and every line of
// a document.
var known sync.Map // reflect.Type to []field

// fieldsOf returns the fields of a struct in order, those of an embedded one in
// its place. Read only.
func fieldsOf(t reflect.Type) []field {
	if all, ok := known.Load(t); ok {
		return all.([]field)
	}
	all := readFields(t)
	known.Store(t, all)
	return all
}

func readFields(t reflect.Type) []field {
	var all []field
	for f := range t.Fields() {
		if f.Anonymous {
			for _, inner := range fieldsOf(f.Type) {
				inner.index = append(slices.Clone(f.Index), inner.index...)
				all = append(all, inner)
			}
			continue
		}
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		all = append(all, field{f, name, f.Index})
	}
	return all
}

func namesOf(fields []field) []string {
	names := make([]string, len(fields))
	for i, f := range fields {
		names[i] = f.name
	}
	return names
}

// paths returns the paths of all fields below a type, in order, objects before
// what is in them. What is in lists is not told.
func paths(t reflect.Type, path string) []string {
	var all []string
	for _, f := range fieldsOf(t) {
		p := member(path, f.name)
		all = append(all, p)
		if f.Type.Kind() == reflect.Struct {
			all = append(all, paths(f.Type, p)...)
		}
	}
	return all
}

// member is the path of a field of an object.
func member(path, name string) string {
	switch {
	case !identifier(name):
		return path + "[" + quote(name) + "]"
	case path == "":
		return name
	default:
		return path + "." + name
	}
}

// element is the path of one value of a list.
func element(path string, i int) string { return fmt.Sprintf("%s[%d]", path, i) }

func identifier(s string) bool {
	odd := func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '_' && r != '-'
	}
	return s != "" && len(s) <= 60 && !strings.ContainsFunc(s, odd)
}
