package bolt

import (
	"bytes"

	"go.etcd.io/bbolt"

	"github.com/innermesh/innermesh/idempotency"
)

// Spoil changes the last byte of a record.
func (s *Store) Spoil(id idempotency.ID) error {
	return s.db.Update(func(tx *bbolt.Tx) error {
		b := tx.Bucket(operations)
		data := bytes.Clone(b.Get(id[:]))
		data[len(data)-1] ^= 1
		return b.Put(id[:], data)
	})
}
