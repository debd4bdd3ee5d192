package bolt

import (
	"bytes"
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/innermesh/innermesh/idempotency"
)

func records(tb testing.TB) []record {
	tb.Helper()
	outcome, err := idempotency.Outcome{Status: 201, Body: []byte("body")}.MarshalBinary()
	if err != nil {
		tb.Fatal(err)
	}
	return []record{
		{owners: 1, token: idempotency.NewToken(), lease: time.UnixMilli(1_700_000_000_000), expires: time.UnixMilli(1)},
		{
			done: true, owners: 1 << 31, fingerprint: idempotency.NewHash("f").Sum(), token: idempotency.NewToken(),
			epoch: idempotency.NewToken(), lease: time.UnixMilli(-1), expires: time.UnixMilli(2_000_000_000_000), outcome: outcome,
		},
	}
}

func TestRecord(t *testing.T) {
	for _, want := range records(t) {
		data := want.encode()
		if len(data) != headSize+len(want.outcome)+4 {
			t.Errorf("%d bytes", len(data))
		}
		got, err := decode(data)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v, %v, want %+v", got, err, want)
		}
		clear(data) // the file changes
		if !reflect.DeepEqual(got, want) {
			t.Error("what was decoded shares memory with the file")
		}
	}
	if _, err := decode(nil); !errors.Is(err, idempotency.ErrCorrupt) {
		t.Errorf("nothing: %v", err)
	}
}

func FuzzRecord(f *testing.F) {
	for _, r := range records(f) {
		data := r.encode()
		f.Add(data[:len(data)-4], true)
		f.Add(data, false)
	}
	f.Add(bytes.Repeat([]byte{1}, headSize), true)
	f.Fuzz(func(t *testing.T, data []byte, seal bool) {
		if seal { // or the checksum hides the decoder
			data = idempotency.Seal(bytes.Clone(data))
		}
		r, err := decode(data)
		if err != nil {
			if !errors.Is(err, idempotency.ErrCorrupt) {
				t.Fatalf("%v is no ErrCorrupt", err)
			}
			return
		}
		if again := r.encode(); !bytes.Equal(again, data) {
			t.Fatalf("%x comes back as %x", data, again)
		}
		_, err = r.entry(idempotency.Claim{Fingerprint: r.fingerprint}, r.epoch, time.UnixMilli(0))
		if err != nil && !errors.Is(err, idempotency.ErrCorrupt) {
			t.Fatalf("%v is no ErrCorrupt", err)
		}
	})
}
