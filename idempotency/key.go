package idempotency

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"fmt"
	"strings"
)

// Names by which keys travel.
const (
	// Header is the HTTP header with the key, a structured-field String as the
	// IETF draft has it: see [FormatKey].
	Header = "Idempotency-Key"
	// Metadata is the gRPC metadata with the key: bare, or as in Header.
	Metadata = "idempotency-key"
	// ReplayedHeader is "true" on an answer that was given before.
	ReplayedHeader = "Idempotent-Replayed"
	// ReplayedMetadata is its name in gRPC metadata.
	ReplayedMetadata = "idempotent-replayed"
)

// MaxKey is the longest key in bytes.
const MaxKey = 255

// ErrKey says that what came as a key is none; the error around it says why.
var ErrKey = errors.New("not an idempotency key")

// NewKey returns a key that nobody has had before: 128 bits of randomness or
// more, in letters and digits.
func NewKey() string { return rand.Text() }

// Derive returns the key of one step within the operation that has this key: the
// same for the same two words, and as hard to guess as the key. An operation
// that is run again so repeats its own calls under their first keys.
func Derive(key, step string) string {
	sum := digest("innermesh idempotency step", key, step)
	return base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(sum[:20])
}

// CheckKey says whether key can be one: 1 to [MaxKey] printable ASCII
// characters. The error is an [ErrKey].
func CheckKey(key string) error {
	switch {
	case key == "":
		return fmt.Errorf("%w: it is empty", ErrKey)
	case len(key) > MaxKey:
		return fmt.Errorf("%w: it has %d bytes, at most %d are taken", ErrKey, len(key), MaxKey)
	}
	for i := range len(key) {
		if key[i] < ' ' || key[i] > '~' {
			return fmt.Errorf("%w: byte %d is not printable ASCII", ErrKey, i)
		}
	}
	return nil
}

// FormatKey returns the value of [Header] for a key: a structured-field String
// (RFC 8941, section 3.3.3), which is the key in quotes.
func FormatKey(key string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(key) + `"`
}

// ParseKey reads the value of [Header]: a structured-field String or, as most
// clients write it, the bare key. A bare key has no spaces and none of `"\,;`,
// so that two headers which a proxy has joined are not taken for one. Parameters
// are refused: the draft defines none. The error is an [ErrKey].
func ParseKey(field string) (string, error) {
	field = strings.Trim(field, " \t")
	key := field
	if strings.HasPrefix(field, `"`) {
		var err error
		if key, err = unquote(field); err != nil {
			return "", err
		}
	} else if i := strings.IndexAny(field, ` "\,;`); i >= 0 {
		return "", fmt.Errorf("%w: %q at byte %d needs the key in quotes", ErrKey, field[i], i)
	}
	return key, CheckKey(key)
}

// unquote reads an sf-string.
func unquote(field string) (string, error) {
	var key strings.Builder
	for i := 1; i < len(field); i++ {
		switch c := field[i]; c {
		case '"':
			if i != len(field)-1 {
				return "", fmt.Errorf("%w: something follows the closing quote", ErrKey)
			}
			return key.String(), nil
		case '\\':
			if i++; i == len(field) || field[i] != '"' && field[i] != '\\' {
				return "", fmt.Errorf("%w: byte %d: only a quote or a backslash may follow a backslash", ErrKey, i)
			}
			key.WriteByte(field[i])
		default:
			key.WriteByte(c)
		}
	}
	return "", fmt.Errorf("%w: the closing quote is missing", ErrKey)
}

// digest is the SHA-256 of parts, told apart by their lengths.
func digest(parts ...string) [sha256.Size]byte {
	h := NewHash(parts...)
	return h.Sum()
}
