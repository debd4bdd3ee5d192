package consul

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// ErrUnsupported is found in errors about something that Consul was told and
// that is not done here, nor silently left out.
var ErrUnsupported = errors.New("not supported, see docs/consul-parity.md")

// ignored is a field that is known and of no concern here. Each one says why.
type ignored = json.RawMessage

// faults collects what is wrong, so that all of it is told at once.
type faults []error

func (f *faults) addf(path, format string, args ...any) {
	*f = append(*f, fmt.Errorf("%s: %s", path, fmt.Sprintf(format, args...))) //nolint:err113 // told to people; nobody decides by it
}

func (f *faults) unsupportedf(path, format string, args ...any) {
	*f = append(*f, fmt.Errorf("%s: %s: %w", path, fmt.Sprintf(format, args...), ErrUnsupported))
}

// err joins the faults, each once; of very many the first few.
func (f *faults) err() error {
	const most = 20
	told := make(map[string]bool)
	var once []error
	for _, fault := range *f {
		if !told[fault.Error()] {
			told[fault.Error()] = true
			once = append(once, fault)
		}
	}
	if len(once) > most {
		once = append(once[:most], fmt.Errorf("and %d more: correct these first", len(once)-most)) //nolint:err113 // as above
	}
	return errors.Join(once...)
}

// decode reads one of Consul's answers into a struct. Fields that the struct does
// not have are refused unless they are empty: a newer Consul may say what would
// change where calls go. path is where data stands, for errors.
func decode(data []byte, into any, path string) error {
	var tree any
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	if err := d.Decode(&tree); err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	var f faults
	f.unknown(reflect.TypeOf(into), tree, path)
	if err := json.Unmarshal(data, into); err != nil && len(f) == 0 {
		return fmt.Errorf("read %s: %w", path, err)
	}
	return f.err()
}

// unknown goes over an answer along the type it is for. It uses reflection
// because encoding/json names neither the place of an unknown field nor more than
// one.
func (f *faults) unknown(t reflect.Type, tree any, path string) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if tree == nil || t == reflect.TypeFor[ignored]() {
		return
	}
	if t == reflect.TypeFor[duration]() {
		if _, err := readDuration(tree); err != nil {
			f.addf(path, "%v", err)
		}
		return
	}
	object, isObject := tree.(map[string]any)
	list, isList := tree.([]any)
	switch {
	case t.Kind() == reflect.Struct && isObject:
		for _, name := range slices.Sorted(maps.Keys(object)) {
			field, ok := t.FieldByName(name)
			switch {
			case ok:
				f.unknown(field.Type, object[name], below(path, name))
			case !empty(object[name]):
				f.unsupportedf(below(path, name), "is a field that is not known here")
			}
		}
	case t.Kind() == reflect.Map && isObject:
		for _, key := range slices.Sorted(maps.Keys(object)) {
			f.unknown(t.Elem(), object[key], at(path, key))
		}
	case t.Kind() == reflect.Slice && isList:
		for i, value := range list {
			f.unknown(t.Elem(), value, element(path, i))
		}
	}
}

// empty says whether a value says nothing.
func empty(tree any) bool {
	switch v := tree.(type) {
	case nil:
		return true
	case bool:
		return !v
	case string:
		return v == ""
	case json.Number:
		return strings.Trim(v.String(), "-0.") == ""
	case []any:
		return len(v) == 0
	case map[string]any:
		for _, inner := range v {
			if !empty(inner) {
				return false
			}
		}
		return true
	default:
		return false
	}
}

func below(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

func at(path, key string) string { return fmt.Sprintf("%s[%s]", path, quote(key)) }

func element(path string, i int) string { return fmt.Sprintf("%s[%d]", path, i) }

// quote makes text from an answer fit for a message, however long or odd.
func quote(s string) string {
	const most = 100
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	return fmt.Sprintf("%q", s)
}
