package saga

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
)

// Why bytes are not a record.
var (
	// ErrCorrupt: they were one once, or never.
	ErrCorrupt = errors.New("not a whole record of a saga")
	// ErrVersion: a newer program has written them.
	ErrVersion = errors.New("written in a newer form: use a newer version of this program")
)

// A record on disk: 4 "imsg" · 1 version · 4 CRC-32C of what follows, big-endian
// · the record as JSON.
const (
	magic   = "imsg"
	version = 1
	headLen = len(magic) + 1 + 4
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Encode returns the record as bytes that [Decode] reads, checksummed.
func Encode(r *Record) ([]byte, error) {
	facts, err := json.Marshal((*plain)(r))
	if err != nil {
		return nil, fmt.Errorf("encode saga %s: %w", r.ID, err)
	}
	b := make([]byte, headLen, headLen+len(facts))
	copy(b, magic)
	b[len(magic)] = version
	binary.BigEndian.PutUint32(b[len(magic)+1:], crc32.Checksum(facts, castagnoli))
	return append(b, facts...), nil
}

// Decode reads what Encode has written. The record shares nothing with b. The
// error is [ErrCorrupt] or [ErrVersion].
func Decode(b []byte) (Record, error) {
	switch {
	case len(b) < headLen || string(b[:len(magic)]) != magic:
		return Record{}, fmt.Errorf("decode %d bytes: %w: they do not begin as one", len(b), ErrCorrupt)
	case b[len(magic)] != version:
		return Record{}, fmt.Errorf("decode a record of version %d: %w", b[len(magic)], ErrVersion)
	case binary.BigEndian.Uint32(b[len(magic)+1:]) != crc32.Checksum(b[headLen:], castagnoli):
		return Record{}, fmt.Errorf("decode %d bytes: %w: the checksum is wrong", len(b), ErrCorrupt)
	}
	var p plain
	if err := json.Unmarshal(b[headLen:], &p); err != nil {
		return Record{}, fmt.Errorf("decode %d bytes: %w: %w", len(b), ErrCorrupt, err)
	}
	r := Record(p)
	if err := r.Validate(); err != nil {
		return Record{}, fmt.Errorf("decode %d bytes: %w: %w", len(b), ErrCorrupt, err)
	}
	return r, nil
}

// plain is a record without its methods.
type plain Record
