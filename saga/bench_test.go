package saga_test

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/innermesh/innermesh/saga"
	"github.com/innermesh/innermesh/saga/bolt"
	"github.com/innermesh/innermesh/saga/sagatest"
)

// BenchmarkStep is what a step costs beside the bare write of its record: a saga
// of ten steps, one after the other. With sync, the disk decides.
func BenchmarkStep(b *testing.B) {
	for _, noSync := range []bool{false, true} {
		b.Run(fmt.Sprintf("bbolt put,sync=%t", !noSync), func(b *testing.B) { benchPut(b, noSync) })
		b.Run(fmt.Sprintf("saga in bolt,sync=%t", !noSync), func(b *testing.B) {
			l, err := bolt.Open(bolt.Options{Path: filepath.Join(b.TempDir(), "sagas"), NoSync: noSync})
			if err != nil {
				b.Fatal(err)
			}
			defer l.Close()
			benchSaga(b, l, 1)
		})
		b.Run(fmt.Sprintf("64 sagas in bolt,sync=%t", !noSync), func(b *testing.B) {
			l, err := bolt.Open(bolt.Options{Path: filepath.Join(b.TempDir(), "sagas"), NoSync: noSync})
			if err != nil {
				b.Fatal(err)
			}
			defer l.Close()
			benchSaga(b, l, 64)
		})
	}
	b.Run("saga in memory", func(b *testing.B) { benchSaga(b, new(saga.Memory), 1) })
}

func benchPut(b *testing.B, noSync bool) {
	db, err := bbolt.Open(filepath.Join(b.TempDir(), "plain"), 0o600, &bbolt.Options{
		NoSync: noSync, NoFreelistSync: true, FreelistType: bbolt.FreelistMapType,
	})
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	r := sagatest.Record("one")
	data, err := saga.Encode(&r)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if err := db.Update(func(tx *bbolt.Tx) error {
			bucket, err := tx.CreateBucketIfNotExists([]byte("sagas"))
			if err != nil {
				return err
			}
			return bucket.Put(fmt.Append(nil, i%100), data)
		}); err != nil {
			b.Fatal(err)
		}
	}
}

// benchSaga counts an operation for each step.
func benchSaga(b *testing.B, l saga.Log, together int) {
	const steps = 10
	def := &definition{Name: "bench"}
	for i := range steps {
		def.Steps = append(def.Steps, step{Name: fmt.Sprint(i), Do: func(context.Context, *order) error { return nil }})
	}
	c, err := saga.New(saga.Options{Log: l, Definitions: []saga.Runnable{def}, Logger: quiet})
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close(b.Context())
	b.ReportAllocs()
	b.ResetTimer()
	ids := make(chan string, together)
	for i := range (b.N + steps - 1) / steps {
		if i >= together {
			id := <-ids
			if _, err := c.Wait(b.Context(), id); err != nil {
				b.Fatal(err)
			}
		}
		id := fmt.Sprint(i)
		if err := saga.Start(b.Context(), c, def, id, order{Item: "lamp"}); err != nil {
			b.Fatal(err)
		}
		ids <- id
	}
	for range len(ids) {
		if _, err := c.Wait(b.Context(), <-ids); err != nil {
			b.Fatal(err)
		}
	}
}
