package intention

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
)

// ErrMalformed is wrapped by errors about answers that are not Consul's.
var ErrMalformed = errors.New("this is not a list of intentions")

// known are the fields of an intention that this package obeys, or that decide
// nothing.
var known = []string{
	"Action", "CreateIndex", "CreatedAt", "DefaultAddr", "DefaultPort", "Description", "DestinationNS", "DestinationName",
	"DestinationPartition", "Hash", "ID", "JWT", "Meta", "ModifyIndex", "Permissions", "Precedence", "SourceNS", "SourceName",
	"SourcePartition", "SourcePeer", "SourceSamenessGroup", "SourceType", "UpdatedAt",
}

// Decode reads Consul's answer to /v1/connect/intentions/match?by=destination for
// a service. An empty list is no error, an answer about other services only is:
// the error wraps [ErrMalformed].
//
// A field that is not known may hold a condition, so the rules made of such an
// intention refuse all it is for, and say so.
func Decode(body []byte, service string) ([]Intention, error) {
	var answer map[string][]json.RawMessage
	if err := json.Unmarshal(body, &answer); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	raw, ok := answer[service]
	if !ok {
		return nil, fmt.Errorf("%w: it says nothing about %q", ErrMalformed, service)
	}
	list := make([]Intention, len(raw))
	var faults []error
	for n, one := range raw {
		if err := list[n].decode(one); err != nil {
			faults = append(faults, fmt.Errorf("%w: number %d: %w", ErrMalformed, n+1, err))
		}
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	return list, nil
}

func (i *Intention) decode(raw json.RawMessage) error {
	if err := json.Unmarshal(raw, i); err != nil { //nolint:musttag // Consul spells its fields as Go does
		return err
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(raw, &fields); err != nil {
		return err
	}
	if fields == nil {
		return errors.New("it is null")
	}
	for name := range fields {
		if !slices.Contains(known, name) {
			i.odd = fmt.Errorf("the field %q is not known", name)
		}
	}
	for _, name := range []string{"Permissions", "JWT"} {
		if len(fields[name]) == 0 {
			continue
		}
		d := json.NewDecoder(bytes.NewReader(fields[name]))
		d.DisallowUnknownFields()
		var strict any = new([]Permission)
		if name == "JWT" {
			strict = new(JWT)
		}
		if err := d.Decode(strict); err != nil {
			i.odd = fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}
