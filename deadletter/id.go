package deadletter

import (
	"crypto/rand"
	"encoding/base32"
	"encoding/binary"
	"strings"
	"time"
)

// NewID returns an ID for a letter made at the time given: its milliseconds,
// then 80 random bits, in characters that sort as the bytes do.
func NewID(now time.Time) string {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:], uint64(now.UnixMilli())<<16)
	_, _ = rand.Read(b[6:]) // never fails, says its documentation
	return ids.EncodeToString(b[:])
}

var ids = base32.NewEncoding("0123456789abcdefghijklmnopqrstuv").WithPadding(base32.NoPadding)

// mintKey returns a new idempotency key as a structured-field string, as
// draft-ietf-httpapi-idempotency-key-header has it.
func mintKey() string { return quote(rand.Text()) }

func quote(key string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(key) + `"`
}
