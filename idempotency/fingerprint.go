package idempotency

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"hash"
)

// ID is under what a store keeps an operation: a digest of caller, route and
// key, so that neither can be read from what is stored.
type ID [sha256.Size]byte

// NewID returns the ID of an operation. The same key of another caller, or on
// another route, is another operation.
func NewID(caller, route, key string) ID { return digest(caller, route, key) }

// String returns the ID in hexadecimal.
func (id ID) String() string { return hex.EncodeToString(id[:]) }

// Fingerprint tells whether a repeat asks for the same as the first: a digest of
// the request. The zero value says nothing about the request.
type Fingerprint [sha256.Size]byte

// Token tells the owners of one operation apart. A store takes an outcome only
// from the owner that it knows, so that one who was slow and lost his lease can
// not overwrite what his successor did.
type Token [16]byte

// NewToken returns a random token.
func NewToken() Token {
	var t Token
	_, _ = rand.Read(t[:]) // never fails, as documented
	return t
}

// Hash makes a fingerprint of a request as it is read. It is an [io.Writer].
type Hash struct{ h hash.Hash }

// NewHash returns a Hash that has read parts, told apart by their lengths.
func NewHash(parts ...string) *Hash {
	h := &Hash{sha256.New()}
	for _, p := range parts {
		h.Part(p)
	}
	return h
}

// Part adds a part with its length, so that ("ab", "c") is not ("a", "bc").
func (h *Hash) Part(p string) {
	var length [8]byte
	binary.BigEndian.PutUint64(length[:], uint64(len(p)))
	h.h.Write(length[:])
	h.h.Write([]byte(p))
}

// Write adds bytes as they come. It never fails.
func (h *Hash) Write(p []byte) (int, error) { return h.h.Write(p) }

// Sum returns the fingerprint of all that was added.
func (h *Hash) Sum() Fingerprint { return Fingerprint(h.h.Sum(nil)) }
