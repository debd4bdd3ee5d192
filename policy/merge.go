package policy

import (
	"reflect"
	"slices"
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
	layers  []Layer
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
	e := Effective{origins: make(map[string]string), layers: layers}
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

// ForRoute returns what is in force for calls that take a route: what the route
// says lies right above what its own layer says for the whole service, so that
// higher layers still win. Routes and subsets are left out of it.
func (e Effective) ForRoute(i int) Effective {
	r := e.Routes[i]
	part := Service{Timeout: r.Timeout, Retry: r.Retry, Hedge: r.Hedge, Inject: r.Inject, Mirror: r.Mirror, Stick: r.Stick}
	return e.within("routes", element("routes", i), part)
}

// ForTarget returns what is in force for the instances of a target, in the same
// way. path is where the policy says it, such as "routes[0].to[1]".
func (e Effective) ForTarget(path string, t Target) Effective {
	return e.within("routes", path, Service{Timeout: Timeout{Connect: t.Connect}, Balancer: t.Balancer})
}

// within lays what a part of a layer says over the rest of it. The layer is
// that which set the field.
func (e Effective) within(field, path string, part Service) Effective {
	owner := slices.IndexFunc(e.layers, func(l Layer) bool { return l.Name == e.Origin(field) })
	if owner < 0 {
		return e
	}
	layers := make([]Layer, 0, len(e.layers)+1)
	for i, l := range e.layers {
		l.Service.Routes, l.Service.Subsets = nil, nil // a route has none of its own
		layers = append(layers, l)
		if i == owner {
			layers = append(layers, Layer{l.Name + ", " + path, part})
		}
	}
	return Merge(layers...)
}

// Origin returns the name of the layer that set the field at path
// ("retry.attempts"), or in a few words how its value follows from other
// fields. It is empty if nobody said it or there is no such field.
func (e Effective) Origin(path string) string {
	for path != "" {
		if by, ok := e.origins[path]; ok {
			return by
		}
		path = path[:max(strings.LastIndexAny(path, ".["), 0)] // all of a list comes from one layer
	}
	return ""
}

// Spares says whether nobody has set timeout.perTry, so that it follows from the
// time of each call.
func (e Effective) Spares() bool { return e.Origin("timeout.perTry") == halfOfTotal }

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
		for _, f := range fieldsOf(top.Type()) {
			overlayValue(base.FieldByIndex(f.index), top.FieldByIndex(f.index), member(path, f.name), said)
		}
	case top.IsZero():
	case top.Kind() == reflect.Slice, top.Kind() == reflect.Map:
		base.Set(copied(top))
		said(path)
	default:
		base.Set(top)
		said(path)
	}
}

// copied returns a value that shares nothing with v that could be changed. A
// list that is empty stays so rather than nil: empty says something.
func copied(v reflect.Value) reflect.Value {
	switch {
	case v.Kind() == reflect.Slice && !v.IsNil():
		c := reflect.MakeSlice(v.Type(), v.Len(), v.Len())
		for i := range v.Len() {
			c.Index(i).Set(copied(v.Index(i)))
		}
		return c
	case v.Kind() == reflect.Map && !v.IsNil():
		c := reflect.MakeMapWithSize(v.Type(), v.Len())
		for key, value := range v.Seq2() {
			c.SetMapIndex(key, copied(value))
		}
		return c
	case v.Kind() == reflect.Struct:
		c := reflect.New(v.Type()).Elem()
		for i := range v.NumField() {
			c.Field(i).Set(copied(v.Field(i)))
		}
		return c
	default:
		return v
	}
}
