package saga

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
)

// take makes the state what a step has made of base; it is called under mu. What
// steps of a group have changed is taken over field by field.
func (x *run) take(s *step, st *StepRecord, base, next json.RawMessage) error {
	if len(next) > maxState {
		return Permanent(fmt.Errorf("the state has %d bytes, at most %d are taken: keep a pointer to what is large", len(next), maxState))
	}
	if !s.group {
		x.r.State = next
		return nil
	}
	mine, err := difference(base, next)
	if err != nil {
		return Permanent(err)
	}
	theirs, err := fields(x.r.State)
	if err != nil {
		return Permanent(err)
	}
	for _, other := range x.siblings(s) {
		for _, name := range x.r.Steps[other.index].Changed {
			if v, ok := mine[name]; ok && !bytes.Equal(v, orNull(theirs[name])) {
				st.Own = object(mine)
				return Permanent(fmt.Errorf("%w: %s has changed %q too", ErrConflict, other.name, name))
			}
		}
	}
	st.Changed = slices.Sorted(maps.Keys(mine))
	x.r.State = overlay(theirs, mine)
	return nil
}

// takeBack makes the state what the undoing of a step has made of base; it is
// called under mu. Of two that change the same field, the later one counts.
func (x *run) takeBack(s *step, base, next json.RawMessage) error {
	if !s.group {
		x.r.State = next
		return nil
	}
	mine, err := difference(base, next)
	if err != nil {
		return Permanent(err)
	}
	theirs, err := fields(x.r.State)
	if err != nil {
		return Permanent(err)
	}
	x.r.State = overlay(theirs, mine)
	return nil
}

// view returns the state that the undoing of a step works on; it is called under
// mu.
func (x *run) view(st *StepRecord) json.RawMessage {
	own, err := fields(st.Own)
	if st.Own == nil || err != nil {
		return x.r.State
	}
	all, err := fields(x.r.State)
	if err != nil {
		return x.r.State
	}
	return overlay(all, own)
}

// siblings returns the other steps of a step's group.
func (x *run) siblings(s *step) (others []*step) {
	for _, group := range x.p.groups {
		if slices.Contains(group, s) {
			for _, o := range group {
				if o != s {
					others = append(others, o)
				}
			}
		}
	}
	return others
}

// difference returns the fields of next that differ from those of base; null for
// those that are gone.
func difference(base, next json.RawMessage) (map[string]json.RawMessage, error) {
	before, err := fields(base)
	if err != nil {
		return nil, err
	}
	after, err := fields(next)
	if err != nil {
		return nil, err
	}
	change := map[string]json.RawMessage{}
	for name, v := range after {
		if was, ok := before[name]; !ok || !bytes.Equal(was, v) {
			change[name] = v
		}
	}
	for name := range before {
		if _, ok := after[name]; !ok {
			change[name] = null
		}
	}
	return change, nil
}

var null = json.RawMessage("null")

// overlay applies a difference to the fields of a state, which become the state.
func overlay(all, change map[string]json.RawMessage) json.RawMessage {
	for name, v := range change {
		if bytes.Equal(v, null) {
			delete(all, name)
		} else {
			all[name] = v
		}
	}
	return object(all)
}

// fields returns the fields of a state.
func fields(state json.RawMessage) (all map[string]json.RawMessage, err error) {
	if err := json.Unmarshal(state, &all); err != nil || all == nil {
		return nil, fmt.Errorf("the state of a saga that has groups must be a JSON object, and is %.40s", state)
	}
	return all, nil
}

func object(all map[string]json.RawMessage) json.RawMessage {
	raw, err := json.Marshal(all)
	if err != nil { // its parts were JSON before
		return null
	}
	return raw
}

func orNull(raw json.RawMessage) json.RawMessage {
	if raw == nil {
		return null
	}
	return raw
}
