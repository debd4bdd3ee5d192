package deadletter

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
)

// Why bytes are not a letter.
var (
	// ErrCorrupt: they were one once, or never.
	ErrCorrupt = errors.New("not a whole letter")
	// ErrVersion: a newer program has written them.
	ErrVersion = errors.New("written in a newer form: use a newer version of this program")
)

// A letter on disk or on the wire, numbers big-endian:
//
//	4 "imdl" · 1 version · 4 length of the facts · 4 length of the body ·
//	4 CRC-32C of all else · the facts as JSON · the body as it is
const (
	magic      = "imdl"
	version    = 1
	headLen    = len(magic) + 1 + 4 + 4 + 4
	checksumAt = headLen - 4
	maxFacts   = 16 << 20
	maxBytes   = 1 << 30
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Encode returns the letter as bytes that [Decode] reads, checksummed.
func Encode(l Letter) ([]byte, error) {
	body := l.Body
	l.Body = nil
	facts, err := json.Marshal(write(l))
	if err != nil {
		return nil, fmt.Errorf("encode letter %s: %w", l.ID, err)
	}
	if len(facts) > maxFacts || len(body) > maxBytes {
		return nil, fmt.Errorf("encode letter %s: %d bytes of facts and %d of body are too many", l.ID, len(facts), len(body))
	}
	b := make([]byte, headLen, headLen+len(facts)+len(body))
	copy(b, magic)
	b[len(magic)] = version
	binary.BigEndian.PutUint32(b[5:], uint32(len(facts)))
	binary.BigEndian.PutUint32(b[9:], uint32(len(body)))
	b = append(append(b, facts...), body...)
	binary.BigEndian.PutUint32(b[checksumAt:], checksum(b))
	return b, nil
}

// Decode reads what Encode has written. The letter shares nothing with b. The
// error is [ErrCorrupt] or [ErrVersion].
func Decode(b []byte) (Letter, error) {
	n, err := measure(b)
	switch {
	case err != nil:
		return Letter{}, err
	case n != len(b):
		return Letter{}, fmt.Errorf("decode %d bytes: %w: it says it has %d", len(b), ErrCorrupt, n)
	}
	return decode(b)
}

// measure reads how long the letter is that b begins with.
func measure(b []byte) (int, error) {
	switch {
	case len(b) < headLen || string(b[:len(magic)]) != magic:
		return 0, fmt.Errorf("decode %d bytes: %w: they do not begin as one", len(b), ErrCorrupt)
	case b[len(magic)] != version:
		return 0, fmt.Errorf("decode a letter of version %d: %w", b[len(magic)], ErrVersion)
	}
	facts, body := binary.BigEndian.Uint32(b[5:]), binary.BigEndian.Uint32(b[9:])
	if facts > maxFacts || body > maxBytes {
		return 0, fmt.Errorf("decode: %w: it says it has %d and %d bytes", ErrCorrupt, facts, body)
	}
	return headLen + int(facts) + int(body), nil
}

// decode reads a letter that is exactly b, which begins as one.
func decode(b []byte) (Letter, error) {
	if sum := binary.BigEndian.Uint32(b[checksumAt:]); sum != checksum(b) {
		return Letter{}, fmt.Errorf("decode %d bytes: %w: the checksum is wrong", len(b), ErrCorrupt)
	}
	facts := int(binary.BigEndian.Uint32(b[5:]))
	var w written
	if err := json.Unmarshal(b[headLen:headLen+facts], &w); err != nil {
		return Letter{}, fmt.Errorf("decode %d bytes: %w: %w", len(b), ErrCorrupt, err)
	}
	l := w.letter()
	l.Body = nil
	if body := b[headLen+facts:]; len(body) > 0 {
		l.Body = append([]byte(nil), body...)
	}
	if err := l.Validate(); err != nil {
		return Letter{}, fmt.Errorf("decode %d bytes: %w: %w", len(b), ErrCorrupt, err)
	}
	return l, nil
}

func checksum(b []byte) uint32 {
	return crc32.Update(crc32.Checksum(b[:checksumAt], castagnoli), castagnoli, b[headLen:])
}
