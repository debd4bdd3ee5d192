package nats_test

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/innermesh/innermesh/deadletter"
	"github.com/innermesh/innermesh/deadletter/deadlettertest"
	"github.com/innermesh/innermesh/deadletter/nats"
)

// BenchmarkEnqueue puts letters of 1 KiB beside a plain publish of the same
// bytes, acknowledged by the same server.
func BenchmarkEnqueue(b *testing.B) {
	needServer(b)
	b.Run("letters", func(b *testing.B) {
		s, err := nats.Open(b.Context(), shared.connect(b), nats.Options{Bucket: name(), MaxLetters: 1 << 30})
		if err != nil {
			b.Fatal(err)
		}
		defer s.Close()
		each(b, func(l deadletter.Letter) error { return s.Put(b.Context(), l) })
	})
	b.Run("plain-publish", func(b *testing.B) {
		js, stream := shared.connect(b), name()
		if _, err := js.CreateStream(b.Context(), jetstream.StreamConfig{Name: stream, Subjects: []string{stream + ".>"}}); err != nil {
			b.Fatal(err)
		}
		each(b, func(l deadletter.Letter) error {
			data, err := deadletter.Encode(l)
			if err != nil {
				return err
			}
			_, err = js.Publish(b.Context(), stream+"."+l.ID, data)
			return err
		})
	})
}

func each(b *testing.B, do func(deadletter.Letter) error) {
	b.Helper()
	template := deadlettertest.Letter(1)
	template.Body = make([]byte, 1<<10)
	var n atomic.Int64
	b.SetParallelism(8)
	began := time.Now()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			l := template
			l.ID = deadletter.NewID(began.Add(time.Duration(n.Add(1)) * time.Millisecond))
			if err := do(l); err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.ReportMetric(float64(n.Load())/time.Since(began).Seconds(), "letters/s")
}
