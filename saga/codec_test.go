package saga_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/innermesh/innermesh/saga"
	"github.com/innermesh/innermesh/saga/sagatest"
)

// What can be read can be written, and reads the same again.
func FuzzDecode(f *testing.F) {
	r := sagatest.Record("one")
	whole, err := saga.Encode(&r)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Add(whole[:len(whole)-1])
	f.Add([]byte("imsg\x02"))
	f.Add([]byte("imsg\x01\x00\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := saga.Decode(data)
		if err != nil {
			if !errors.Is(err, saga.ErrCorrupt) && !errors.Is(err, saga.ErrVersion) {
				t.Fatalf("an error of another kind: %v", err)
			}
			return
		}
		again, err := saga.Encode(&r)
		if err != nil {
			t.Fatal(err)
		}
		back, err := saga.Decode(again)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(r, back); diff != "" {
			t.Fatal(diff)
		}
	})
}

// Whatever bit has tipped over, the record is refused.
func TestDecodeDamaged(t *testing.T) {
	r := sagatest.Record("one")
	whole, err := saga.Encode(&r)
	if err != nil {
		t.Fatal(err)
	}
	for i := range whole {
		data := bytes.Clone(whole)
		data[i] ^= 0x20
		if _, err := saga.Decode(data); !errors.Is(err, saga.ErrCorrupt) && !errors.Is(err, saga.ErrVersion) {
			t.Fatalf("byte %d: %v", i, err)
		}
	}
	back, err := saga.Decode(whole)
	if diff := cmp.Diff(r, back); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
}
