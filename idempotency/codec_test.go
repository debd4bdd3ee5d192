package idempotency_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/innermesh/innermesh/idempotency"
	"github.com/innermesh/innermesh/idempotency/idempotencytest"
)

// The bytes of version 1, as stores of former releases have them.
func TestOutcomeVersion1(t *testing.T) {
	o := idempotency.Outcome{
		Status: 201, Header: map[string][]string{"A": {"1", ""}}, Trailer: map[string][]string{"t": {"2"}}, Body: []byte("body"),
	}
	want := []byte("\x01\x00\xc9\x01\x01\x01A\x02\x011\x00\x01\x01t\x01\x012\x04body\xc5\xce\x69\xb5")
	got, err := o.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	var back idempotency.Outcome
	if err := back.UnmarshalBinary(want); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(o, back); diff != "" {
		t.Error(diff)
	}
}

func TestOutcomeOfAnotherVersion(t *testing.T) {
	data, err := idempotencytest.Outcome().MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	next := bytes.Clone(data[:len(data)-4])
	next[0]++
	var o idempotency.Outcome
	if err := o.UnmarshalBinary(idempotency.Seal(next)); !errors.Is(err, idempotency.ErrCorrupt) {
		t.Errorf("got %v, want ErrCorrupt", err)
	}
	for i := range data { // any byte
		spoiled := bytes.Clone(data)
		spoiled[i] ^= 0x10
		if err := o.UnmarshalBinary(spoiled); !errors.Is(err, idempotency.ErrCorrupt) {
			t.Errorf("byte %d spoiled: %v, want ErrCorrupt", i, err)
		}
		if err := o.UnmarshalBinary(data[:i]); !errors.Is(err, idempotency.ErrCorrupt) {
			t.Errorf("cut at byte %d: %v, want ErrCorrupt", i, err)
		}
	}
	if _, err := (idempotency.Outcome{Status: -1}).MarshalBinary(); err == nil {
		t.Error("a negative status was encoded")
	}
}

func FuzzOutcome(f *testing.F) {
	for _, o := range []idempotency.Outcome{{}, idempotencytest.Outcome(), {Status: 5, Missing: idempotency.MissingBody}} {
		data, err := o.MarshalBinary()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data[:len(data)-4], true)
		f.Add(data, false)
	}
	f.Add([]byte("\x01\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), true)
	f.Fuzz(func(t *testing.T, data []byte, seal bool) {
		if seal { // or the checksum hides the decoder
			data = idempotency.Seal(bytes.Clone(data))
		}
		var o idempotency.Outcome
		if err := o.UnmarshalBinary(data); err != nil {
			if !errors.Is(err, idempotency.ErrCorrupt) {
				t.Fatalf("%v is no ErrCorrupt", err)
			}
			return
		}
		again, err := o.MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		var back idempotency.Outcome
		if err := back.UnmarshalBinary(again); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(o, back, cmpopts.EquateEmpty()); diff != "" {
			t.Fatal(diff)
		}
	})
}
