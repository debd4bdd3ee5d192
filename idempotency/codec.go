package idempotency

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"maps"
	"math"
	"slices"
)

// outcomeVersion is the first byte of an encoded outcome. Another one is needed
// when what follows changes its meaning.
const outcomeVersion = 1

// ErrCorrupt says that what a store has for an ID can not be read: its checksum
// is wrong, or a newer version has written it.
var ErrCorrupt = errors.New("the stored record can not be read")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// MarshalBinary encodes the outcome for a store: a version, the fields, and a
// checksum (CRC-32C) over both. Equal outcomes have equal encodings.
func (o Outcome) MarshalBinary() ([]byte, error) {
	if o.Status < 0 || o.Status > math.MaxUint16 {
		return nil, fmt.Errorf("encode an outcome: status %d is out of range", o.Status)
	}
	b := make([]byte, 0, o.Size()+64+8*(len(o.Header)+len(o.Trailer)))
	b = append(b, outcomeVersion, byte(o.Missing))
	b = binary.AppendUvarint(b, uint64(o.Status))
	b = appendFields(b, o.Header)
	b = appendFields(b, o.Trailer)
	b = appendBytes(b, o.Body)
	return Seal(b), nil
}

// UnmarshalBinary decodes what MarshalBinary has made. Its body shares memory
// with data. The error is an [ErrCorrupt].
func (o *Outcome) UnmarshalBinary(data []byte) error {
	sealed, err := Unseal(data)
	if err != nil {
		return err
	}
	if len(sealed) < 2 || sealed[0] != outcomeVersion || sealed[1] >= byte(missings) {
		return fmt.Errorf("%w: not an outcome of version %d", ErrCorrupt, outcomeVersion)
	}
	r := reader{rest: sealed[2:]}
	read := Outcome{Missing: Missing(sealed[1])}
	read.Status = int(r.number(math.MaxUint16))
	read.Header = r.fields()
	read.Trailer = r.fields()
	read.Body = r.bytes()
	if r.bad || len(r.rest) > 0 {
		return fmt.Errorf("%w: an outcome of wrong length", ErrCorrupt)
	}
	*o = read
	return nil
}

// Seal appends the checksum (CRC-32C) of a record to it. It is for stores that
// keep records of their own.
func Seal(record []byte) []byte {
	return binary.BigEndian.AppendUint32(record, crc32.Checksum(record, castagnoli))
}

// Unseal returns the record without its checksum. The error is an [ErrCorrupt].
func Unseal(sealed []byte) ([]byte, error) {
	n := len(sealed) - crc32.Size
	if n < 0 {
		return nil, fmt.Errorf("%w: it has only %d bytes", ErrCorrupt, len(sealed))
	}
	if want, got := binary.BigEndian.Uint32(sealed[n:]), crc32.Checksum(sealed[:n], castagnoli); want != got {
		return nil, fmt.Errorf("%w: its checksum is %08x, it should be %08x", ErrCorrupt, got, want)
	}
	return sealed[:n:n], nil
}

func appendBytes(b, p []byte) []byte {
	return append(binary.AppendUvarint(b, uint64(len(p))), p...)
}

func appendFields(b []byte, m map[string][]string) []byte {
	b = binary.AppendUvarint(b, uint64(len(m)))
	for _, k := range slices.Sorted(maps.Keys(m)) {
		b = appendBytes(b, []byte(k))
		b = binary.AppendUvarint(b, uint64(len(m[k])))
		for _, v := range m[k] {
			b = appendBytes(b, []byte(v))
		}
	}
	return b
}

// reader decodes what is left of a record; after the first fault it is bad.
type reader struct {
	rest []byte
	bad  bool
}

func (r *reader) number(limit uint64) uint64 {
	v, n := binary.Uvarint(r.rest)
	if n <= 0 || v > limit {
		r.bad, r.rest = true, nil
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

func (r *reader) bytes() []byte {
	n := r.number(uint64(len(r.rest)))
	if n > uint64(len(r.rest)) { // the length itself took some of them
		r.bad, r.rest = true, nil
		return nil
	}
	p := r.rest[:n:n]
	r.rest = r.rest[n:]
	return p
}

func (r *reader) fields() map[string][]string {
	n := r.number(uint64(len(r.rest))) // each takes a byte at least
	if n == 0 {
		return nil
	}
	m := make(map[string][]string, min(n, 64))
	for range n {
		k := string(r.bytes())
		values := r.number(uint64(len(r.rest)))
		vs := make([]string, 0, min(values, 64))
		for range values {
			vs = append(vs, string(r.bytes()))
		}
		if r.bad {
			return nil
		}
		m[k] = vs
	}
	return m
}
