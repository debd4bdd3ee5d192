package policy

import (
	"fmt"
	"reflect"
	"strings"
)

// Merging and decoding go over the fields by reflection: written out by hand,
// each new field would have to be added in three places, and one forgotten
// would be ignored without a word.

// fieldName returns how a document calls field i of a struct.
func fieldName(t reflect.Type, i int) string {
	name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
	return name
}

// fieldNames returns how a document calls the fields of a struct, in order.
func fieldNames(t reflect.Type) []string {
	names := make([]string, t.NumField())
	for i := range names {
		names[i] = fieldName(t, i)
	}
	return names
}

// paths returns the paths of all fields below a type, in order, objects before
// what is in them.
func paths(t reflect.Type, path string) []string {
	var all []string
	for i := range t.NumField() {
		p := member(path, fieldName(t, i))
		all = append(all, p)
		if f := t.Field(i).Type; f.Kind() == reflect.Struct {
			all = append(all, paths(f, p)...)
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
