package parity

import (
	"maps"
	"net/http"
	"slices"
)

// HeaderMods changes headers: first those to remove, then those to set, then
// those to add. Names are in lower case.
type HeaderMods struct {
	// Set replaces all values of a name.
	Set map[string]string `json:",omitempty"`
	// Add is one more value.
	Add map[string]string `json:",omitempty"`
	// Remove is sorted.
	Remove []string `json:",omitempty"`
}

// Apply returns h as it is afterwards; h stays as it was.
func (m HeaderMods) Apply(h http.Header) http.Header {
	out := h.Clone()
	if out == nil {
		out = http.Header{}
	}
	for _, name := range m.Remove {
		out.Del(name)
	}
	for _, name := range slices.Sorted(maps.Keys(m.Set)) {
		out.Set(name, m.Set[name])
	}
	for _, name := range slices.Sorted(maps.Keys(m.Add)) {
		out.Add(name, m.Add[name])
	}
	return out
}

// names are those of all headers that are changed.
func (m HeaderMods) names() []string {
	return slices.Concat(slices.Collect(maps.Keys(m.Set)), slices.Collect(maps.Keys(m.Add)), m.Remove)
}
