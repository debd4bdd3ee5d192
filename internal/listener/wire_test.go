package listener

import (
	"bytes"
	"testing"
)

func record(kind byte, n int) []byte {
	return append([]byte{kind, 3, 3, byte(n >> 8), byte(n)}, bytes.Repeat([]byte{recordHandshake}, n)...)
}

// However the stream is cut, a handshake is seen where it begins, once, and never
// in what a record holds.
func TestRecords(t *testing.T) {
	const data = 23
	first := bytes.Join([][]byte{record(recordHandshake, 300), record(data, 0), record(data, 600)}, nil)
	again := bytes.Join([][]byte{record(data, 7), record(recordHandshake, 70), record(recordHandshake, 1)}, nil)
	for size := range 40 {
		r, seen := &records{}, 0
		feed := func(stream []byte) {
			for len(stream) > 0 {
				n := min(size+1, len(stream))
				if r.see(stream[:n]) {
					seen++
				}
				stream = stream[n:]
			}
		}
		feed(first)
		r.armed = true
		feed(first[305:])
		if seen != 0 {
			t.Fatalf("pieces of %d: seen without one", size+1)
		}
		feed(again)
		if seen != 1 {
			t.Fatalf("pieces of %d: seen %d times, want once", size+1, seen)
		}
	}
}

func FuzzRecords(f *testing.F) {
	f.Add([]byte{}, 1)
	f.Add(append(record(23, 5), record(recordHandshake, 9)...), 3)
	f.Add([]byte{22, 3, 3, 255, 255, 0}, 2)
	f.Fuzz(func(t *testing.T, stream []byte, cut int) {
		whole, parts := records{armed: true}, records{armed: true}
		want := whole.see(stream)
		cut = max(1, min(cut, 1<<14))
		got := false
		for len(stream) > 0 {
			n := min(cut, len(stream))
			got = parts.see(stream[:n]) || got
			stream = stream[n:]
		}
		if got != want || whole.left != parts.left || whole.n != parts.n {
			t.Errorf("in pieces of %d: %v, %d left; at once %v, %d", cut, got, parts.left, want, whole.left)
		}
	})
}
