package policy

import (
	"encoding/json"
	"reflect"
)

// Said is one value that is in force, and who said it.
type Said struct {
	// Path is the field, as in "retry.attempts".
	Path string
	// Value is how a document would write it.
	Value string
	// Origin is the layer, see [Effective.Origin].
	Origin string
}

// Said lists all values that are in force, in the order of docs/policy.md.
// Routes and subsets are left out.
func (e Effective) Said() []Said {
	var all []Said
	var walk func(v reflect.Value, path string)
	walk = func(v reflect.Value, path string) {
		for _, f := range fieldsOf(v.Type()) {
			p, value := member(path, f.name), v.FieldByIndex(f.index)
			switch {
			case p == "routes", p == "subsets", value.IsZero() && value.Kind() != reflect.Struct:
			case value.Kind() == reflect.Struct:
				walk(value, p)
			default:
				text, err := json.Marshal(value.Interface())
				if err != nil { // no field has a value that JSON can not hold, but for code that writes NaN
					text = []byte(err.Error())
				}
				all = append(all, Said{p, string(text), e.Origin(p)})
			}
		}
	}
	walk(reflect.ValueOf(e.Service), "")
	return all
}
