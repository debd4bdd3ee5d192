package httpadapter

import (
	"bytes"
	"io"
	"net"
	"testing"

	"golang.org/x/net/http2"
)

// Settings are agreed on as soon as we have said so, whatever is said before in one
// breath, and not by what looks like it.
func TestSettingsAreAgreedOn(t *testing.T) {
	looksLike := [8]byte{0, 0, 0, 4, 1} // like the head of the frame that is looked for
	for name, test := range map[string]struct {
		write  func(f *http2.Framer) error
		agreed bool
	}{
		"at once":          {func(f *http2.Framer) error { return f.WriteSettingsAck() }, true},
		"after a ping":     {func(f *http2.Framer) error { _ = f.WritePing(true, [8]byte{}); return f.WriteSettingsAck() }, true},
		"settings of ours": {func(f *http2.Framer) error { return f.WriteSettings() }, false},
		"a ping":           {func(f *http2.Framer) error { return f.WritePing(true, looksLike) }, false},
		"long data":        {func(f *http2.Framer) error { _ = f.WriteData(1, false, make([]byte, 300)); return f.WriteSettingsAck() }, true},
	} {
		t.Run(name, func(t *testing.T) {
			here, there := net.Pipe()
			defer func() { _, _ = here.Close(), there.Close() }()
			go func() { _, _ = io.Copy(io.Discard, there) }() // ends with the pipe
			var w wire
			w.init(here, true, func() {})
			var b bytes.Buffer
			if err := test.write(http2.NewFramer(&b, nil)); err != nil {
				t.Fatal(err)
			}
			for _, p := range [][]byte{[]byte(http2.ClientPreface), b.Bytes()} {
				if _, err := w.Write(p); err != nil {
					t.Fatal(err)
				}
			}
			if w.heard != test.agreed {
				t.Errorf("agreed: %v", w.heard)
			}
		})
	}
}
