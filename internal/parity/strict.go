package parity

import (
	"fmt"
	"slices"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/anypb"
)

// only reports what is set in m beside the fields named. Every message is asked
// before it is read, so that nothing Consul says is lost without a word.
func only(m proto.Message, fields ...protoreflect.Name) error {
	var unread []protoreflect.Name
	m.ProtoReflect().Range(func(f protoreflect.FieldDescriptor, _ protoreflect.Value) bool {
		if !slices.Contains(fields, f.Name()) {
			unread = append(unread, f.Name())
		}
		return true
	})
	if len(unread) == 0 {
		return nil
	}
	slices.Sort(unread)
	return fmt.Errorf("%s has %q, which the oracle does not know", m.ProtoReflect().Descriptor().Name(), unread)
}

// unpack reads a as a T.
func unpack[T proto.Message](a *anypb.Any) (T, error) {
	var zero T
	m, err := a.UnmarshalNew()
	if err != nil {
		return zero, fmt.Errorf("unpack %s: %w", a.GetTypeUrl(), err)
	}
	t, ok := m.(T)
	if !ok {
		return zero, fmt.Errorf("unpack %s: want a %T", a.GetTypeUrl(), zero)
	}
	return t, nil
}
