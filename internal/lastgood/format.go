package lastgood

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// A file is four parts: what it is and its version, the checksum of all that
// follows, the header as JSON, each on a line, and the data as it was given.
const (
	magic     = "innermesh last good state, version "
	version   = "1"
	maxData   = 64 << 20 // many times the instances that a service has
	maxHeader = 64 << 10
	maxFile   = len(magic) + len(version) + 1 + 2*sha256.Size + 1 + maxHeader + maxData
)

var (
	errTooLarge = errors.New("it is too large")
	errCorrupt  = errors.New("it is corrupt")
)

// header says whose state a file holds, of what and when.
type header struct {
	Service     string    `json:"service"`
	Fingerprint string    `json:"fingerprint"`
	Kind        string    `json:"kind"`
	Key         string    `json:"key"`
	Saved       time.Time `json:"saved"`
}

func (h header) String() string {
	return fmt.Sprintf("%s of %s by service %s with fingerprint %q", h.Kind, h.Key, h.Service, h.Fingerprint)
}

func encode(h header, data []byte) ([]byte, error) {
	about, err := json.Marshal(h)
	switch {
	case err != nil:
		return nil, fmt.Errorf("write the header: %w", err)
	case len(about)+1 > maxHeader:
		return nil, fmt.Errorf("%w: the names have %d bytes, %d are allowed", errTooLarge, len(about), maxHeader)
	case len(data) > maxData:
		return nil, fmt.Errorf("%w: %d bytes, %d are allowed", errTooLarge, len(data), maxData)
	}
	rest := bytes.Join([][]byte{about, data}, []byte("\n"))
	sum := sha256.Sum256(rest)
	first := magic + version + "\n" + hex.EncodeToString(sum[:]) + "\n"
	return append([]byte(first), rest...), nil
}

// decode is the reverse of encode, for a file that may be anything.
func decode(file []byte) (h header, data []byte, err error) {
	if len(file) > maxFile {
		return header{}, nil, fmt.Errorf("%w: more than %d bytes", errTooLarge, maxFile)
	}
	first, rest, found := bytes.Cut(file, []byte("\n"))
	written, known := bytes.CutPrefix(first, []byte(magic))
	switch {
	case !found || !known:
		return header{}, nil, fmt.Errorf("%w: it does not begin as such a file does", errCorrupt)
	case string(written) != version:
		return header{}, nil, fmt.Errorf("it is foreign: its format is version %.20q, wanted is %s", written, version)
	}
	checksum, rest, _ := bytes.Cut(rest, []byte("\n"))
	sum := sha256.Sum256(rest)
	if string(checksum) != hex.EncodeToString(sum[:]) {
		return header{}, nil, fmt.Errorf("%w: the checksum does not fit", errCorrupt)
	}
	about, data, found := bytes.Cut(rest, []byte("\n"))
	if !found || len(about) >= maxHeader {
		return header{}, nil, fmt.Errorf("%w: it has no header", errCorrupt)
	}
	if err := json.Unmarshal(about, &h); err != nil {
		return header{}, nil, fmt.Errorf("%w: read the header: %w", errCorrupt, err)
	}
	return h, data, nil
}
