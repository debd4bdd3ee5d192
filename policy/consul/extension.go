package consul

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/innermesh/innermesh/policy"
)

// fromMeta reads the policy in the Meta of a service-defaults: each key under the
// prefix is the path of a field, such as "innermesh/retry.attempts", and its value
// is JSON, or else text as it stands. Any mistake refuses all of it.
func fromMeta(meta map[string]string, prefix string) (policy.Service, error) {
	var f faults
	document := make(map[string]any)
	var keys []string // in order, so that the shorter of two that overlap comes first
	for _, key := range slices.Sorted(maps.Keys(meta)) {
		path, found := strings.CutPrefix(key, prefix+"/")
		if !found {
			continue
		}
		where := at("Meta", key)
		value := written(meta[key])
		// Each alone at first: then it is certain whose mistake it is.
		alone := make(map[string]any)
		put(alone, path, value)
		for _, fault := range refused(alone) {
			f.addf(where, "%s", told(fault, path))
		}
		if !put(document, path, value) {
			f.addf(where, "says again what %s says: keep one", overlapping(keys, path))
		}
		keys = append(keys, path)
	}
	if err := f.err(); err != nil || len(keys) == 0 {
		return policy.Service{}, err
	}
	if faults := refused(document); len(faults) > 0 { // what two keys say does not go together
		for _, fault := range faults {
			f.addf("Meta", "%v", fault)
		}
		return policy.Service{}, f.err()
	}
	return decodeDocument(document)
}

// fromConfig reads the policy in the Config of proxy-defaults: the object under
// the prefix is a policy document.
func fromConfig(config map[string]json.RawMessage, prefix string) (policy.Service, error) {
	raw, found := config[prefix]
	if !found {
		return policy.Service{}, nil
	}
	s, err := policy.Decode(raw, "Config."+prefix)
	if err == nil {
		return s, nil
	}
	var f faults
	for _, fault := range mistakes(err) {
		f.addf("Config."+prefix, "%v", fault)
	}
	return policy.Service{}, f.err()
}

// written is a value of Meta, which are all texts, as JSON: 2 and {"ratio": 0.1}
// are what they look like, 2s is text.
func written(value string) json.RawMessage {
	if json.Valid([]byte(value)) {
		return json.RawMessage(value)
	}
	text, err := json.Marshal(value)
	if err != nil { // texts can always be written
		return nil
	}
	return text
}

// put sets the value at a path of nested objects. It returns false if something
// on the path, or below its end, is set already.
func put(object map[string]any, path string, value json.RawMessage) bool {
	for {
		name, rest, more := strings.Cut(path, ".")
		inner, taken := object[name]
		if !more {
			if taken {
				return false
			}
			object[name] = value
			return true
		}
		if !taken {
			inner = make(map[string]any)
			object[name] = inner
		}
		below, isObject := inner.(map[string]any)
		if !isObject {
			return false
		}
		object, path = below, rest
	}
}

// overlapping finds the key that a path collides with.
func overlapping(keys []string, path string) string {
	for _, k := range keys {
		if strings.HasPrefix(path, k+".") || strings.HasPrefix(k, path+".") {
			return quote(k)
		}
	}
	return "another key"
}

// refused returns what is wrong with a document.
func refused(document map[string]any) []policy.Fault {
	_, err := decodeDocument(document)
	return mistakes(err)
}

func decodeDocument(document map[string]any) (policy.Service, error) {
	data, err := json.Marshal(document)
	if err != nil {
		return policy.Service{}, fmt.Errorf("write as a document: %w", err)
	}
	return policy.Decode(data, "Meta")
}

// mistakes lists the faults of a document without their lines and columns: those
// are of a writing that nobody has seen.
func mistakes(err error) []policy.Fault {
	if err == nil {
		return nil
	}
	wrong, ok := errors.AsType[*policy.DocumentError](err)
	if !ok {
		return []policy.Fault{{Message: err.Error()}}
	}
	faults := slices.Clone(wrong.Faults)
	for i := range faults {
		faults[i].Line, faults[i].Column = 0, 0
	}
	return faults
}

// told is a mistake in the value of one key: its path is not repeated, only what
// lies below it.
func told(f policy.Fault, path string) string {
	if f.Path == path {
		return f.Message
	}
	return f.Error()
}
