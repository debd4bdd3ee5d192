package lastgood

import (
	"bytes"
	"testing"
	"time"
)

func FuzzDecode(f *testing.F) {
	good, err := encode(header{"checkout", "v1", "instances", "stock", time.Unix(0, 0).UTC()}, []byte("data\nwith lines"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(good[:len(good)-1])
	f.Add([]byte(magic + version + "\n"))
	f.Add([]byte(magic + "2\n"))
	// The right sum, without a header and with one that is none.
	f.Add([]byte(magic + version + "\ne3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n"))
	f.Add([]byte(magic + version + "\ndbc1b4c900ffe48d575b5da5c638040125f65db0fe3e24494b76ea986457d986\n\x04"))
	f.Fuzz(func(t *testing.T, file []byte) {
		h, data, err := decode(file)
		if err != nil {
			if data != nil {
				t.Fatalf("refused, and still gave %q", data)
			}
			return
		}
		again, err := encode(h, data)
		if err != nil {
			t.Fatal(err)
		}
		back, same, err := decode(again)
		if err != nil || back != h || !bytes.Equal(same, data) {
			t.Fatalf("%q became %v %q: %v", file, back, same, err)
		}
	})
}

// FuzzChange wants every change of a file to be found.
func FuzzChange(f *testing.F) {
	f.Add([]byte("data"), 3, byte(1))
	f.Fuzz(func(t *testing.T, data []byte, at int, by byte) {
		file, err := encode(header{Service: "checkout", Key: "stock"}, data)
		if err != nil {
			t.Skip(err)
		}
		if at < 0 || at >= len(file) || by == 0 {
			return
		}
		file[at] ^= by
		if h, got, err := decode(file); err == nil {
			t.Fatalf("byte %d changed by %#x gives %v %q", at, by, h, got)
		}
	})
}
