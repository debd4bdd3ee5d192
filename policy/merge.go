package policy

import (
	"reflect"
	"strings"
)

// Layer is one policy among those that are laid over each other.
type Layer struct {
	// Name says where it comes from, as shown to people: "built-in",
	// "consul kv innermesh/services/stock".
	Name    string
	Service Service
}

// Effective is what is in force for a service, once all layers are merged.
type Effective struct {
	Service
	origins map[string]string
}

// Merge lays each layer over those before it, field by field: what a later
// layer says wins, what it does not say stays. A list counts as one field.
//
// [Default] should be the lowest layer, so that every field is said in the end.
// One value follows from others if no layer says it: timeout.perTry is half of
// timeout.total, so that a shorter total needs no second line.
//
// The result is no longer tied to the layers, and not yet checked: see
// [Effective.Validate].
func Merge(layers ...Layer) Effective {
	e := Effective{origins: make(map[string]string)}
	for _, l := range layers {
		overlay(&e.Service, l.Service, func(path string) { e.origins[path] = l.Name })
	}
	if e.Timeout.PerTry == 0 {
		if d, why := e.perTry(); d != 0 {
			e.Timeout.PerTry, e.origins["timeout.perTry"] = d, why
		}
	}
	return e
}

// Origin returns the name of the layer that set the field at path
// ("retry.attempts"), or in a few words how its value follows from other
// fields. It is empty if nobody said it or there is no such field.
func (e Effective) Origin(path string) string {
	path, _, _ = strings.Cut(path, "[") // all of a list comes from one layer
	return e.origins[path]
}

// Validate is [Service.Validate] for what is in force: it sees fields of
// different layers together, and each fault names the layer that set it.
func (e Effective) Validate() error {
	c := checker{origin: e.Origin}
	e.check(&c)
	return c.err()
}

// overlay puts what top says over base and tells the path of each value taken.
func overlay(base *Service, top Service, said func(path string)) {
	overlayValue(reflect.ValueOf(base).Elem(), reflect.ValueOf(top), "", said)
}

func overlayValue(base, top reflect.Value, path string, said func(path string)) {
	switch {
	case top.Kind() == reflect.Struct:
		for i := range top.NumField() {
			overlayValue(base.Field(i), top.Field(i), member(path, fieldName(top.Type(), i)), said)
		}
	case top.IsZero():
	case top.Kind() == reflect.Slice:
		// A copy, and one that stays empty rather than nil: empty says something.
		base.Set(reflect.AppendSlice(reflect.MakeSlice(top.Type(), 0, top.Len()), top))
		said(path)
	default:
		base.Set(top)
		said(path)
	}
}
