package bolt_test

import (
	"fmt"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/innermesh/innermesh/deadletter"
	"github.com/innermesh/innermesh/deadletter/bolt"
	"github.com/innermesh/innermesh/deadletter/deadlettertest"
)

// BenchmarkEnqueue puts letters of 1 KiB, each durable when it returns, beside
// plain bbolt that writes the same bytes: one transaction each, and its own way
// of batching.
func BenchmarkEnqueue(b *testing.B) {
	for _, callers := range []int{1, 16, 256} {
		b.Run(fmt.Sprintf("callers=%d/letters", callers), func(b *testing.B) {
			s, err := bolt.Open(filepath.Join(b.TempDir(), "letters.db"), bolt.Options{MaxLetters: 1 << 30})
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close()
			each(b, callers, func(l deadletter.Letter) error { return s.Put(b.Context(), l) })
		})
		for how, write := range map[string]func(*bbolt.DB, func(*bbolt.Tx) error) error{
			"plain-update": (*bbolt.DB).Update, "plain-batch": (*bbolt.DB).Batch,
		} {
			b.Run(fmt.Sprintf("callers=%d/%s", callers, how), func(b *testing.B) {
				db, err := bbolt.Open(filepath.Join(b.TempDir(), "plain.db"), 0o600, nil)
				if err != nil {
					b.Fatal(err)
				}
				defer db.Close()
				each(b, callers, func(l deadletter.Letter) error {
					data, err := deadletter.Encode(l)
					if err != nil {
						return err
					}
					return write(db, func(tx *bbolt.Tx) error {
						bucket, err := tx.CreateBucketIfNotExists([]byte("letters"))
						if err != nil {
							return err
						}
						return bucket.Put([]byte(l.ID), data)
					})
				})
			})
		}
	}
}

// each has many callers do the same, and counts letters a second.
func each(b *testing.B, callers int, do func(deadletter.Letter) error) {
	b.Helper()
	template := deadlettertest.Letter(1)
	template.Body = make([]byte, 1<<10)
	var n atomic.Int64
	began := time.Now()
	one := func() {
		l := template
		l.ID = deadletter.NewID(began.Add(time.Duration(n.Add(1)) * time.Millisecond))
		if err := do(l); err != nil {
			b.Error(err)
		}
	}
	if callers == 1 {
		for b.Loop() {
			one()
		}
	} else {
		b.SetParallelism(callers / runtime.GOMAXPROCS(0))
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				one()
			}
		})
	}
	b.ReportMetric(float64(n.Load())/time.Since(began).Seconds(), "letters/s")
}
