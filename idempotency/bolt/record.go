package bolt

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/innermesh/innermesh/idempotency"
)

// recordVersion is the first byte of a record. Another one is needed when what
// follows changes its meaning.
const recordVersion = 1

// record is what the file has for one operation. Encoded it is of fixed length
// up to the outcome, with a checksum behind it.
type record struct {
	done        bool
	owners      uint32
	fingerprint idempotency.Fingerprint
	token       idempotency.Token
	epoch       idempotency.Token // of the run of the program that wrote it
	lease       time.Time         // to the millisecond
	expires     time.Time
	outcome     []byte // encoded, if done
}

// headSize is what stands before the outcome.
const headSize = 2 + 4 + len(idempotency.Fingerprint{}) + 2*len(idempotency.Token{}) + 8 + 8

func (r record) encode() []byte {
	b := make([]byte, 0, headSize+len(r.outcome)+4)
	state := byte(0)
	if r.done {
		state = 1
	}
	b = append(b, recordVersion, state)
	b = binary.BigEndian.AppendUint32(b, r.owners)
	b = append(b, r.fingerprint[:]...)
	b = append(b, r.token[:]...)
	b = append(b, r.epoch[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(r.lease.UnixMilli()))
	b = binary.BigEndian.AppendUint64(b, uint64(r.expires.UnixMilli()))
	return idempotency.Seal(append(b, r.outcome...))
}

// decode reads a record. It shares no memory with data, which is the file's.
func decode(data []byte) (r record, err error) {
	b, err := idempotency.Unseal(data)
	if err != nil {
		return r, err
	}
	if len(b) < headSize || b[0] != recordVersion || b[1] > 1 {
		return r, fmt.Errorf("%w: not a record of version %d", idempotency.ErrCorrupt, recordVersion)
	}
	take := func(n int) (field []byte) {
		field, b = b[:n], b[n:]
		return field
	}
	r.done = take(2)[1] == 1
	r.owners = binary.BigEndian.Uint32(take(4))
	copy(r.fingerprint[:], take(len(r.fingerprint)))
	copy(r.token[:], take(len(r.token)))
	copy(r.epoch[:], take(len(r.epoch)))
	r.lease = time.UnixMilli(int64(binary.BigEndian.Uint64(take(8))))
	r.expires = time.UnixMilli(int64(binary.BigEndian.Uint64(take(8))))
	if r.done != (len(b) > 0) {
		return record{}, fmt.Errorf("%w: a record of wrong length", idempotency.ErrCorrupt)
	}
	r.outcome = append(r.outcome, b...)
	return r, nil
}

// entry is what a claim hears about a record that stands in its way, State 0 if
// it does not.
func (r record) entry(c idempotency.Claim, epoch idempotency.Token, now time.Time) (e idempotency.Entry, err error) {
	switch {
	case r.fingerprint != c.Fingerprint:
		e.State = idempotency.Mismatch
	case r.done:
		e.State = idempotency.Done
		err = e.Outcome.UnmarshalBinary(r.outcome)
	case r.token != c.Token && r.epoch == epoch && now.Before(r.lease):
		e.State = idempotency.Running
	}
	return e, err
}
