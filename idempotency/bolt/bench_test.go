package bolt_test

import (
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/innermesh/innermesh/idempotency"
	"github.com/innermesh/innermesh/idempotency/bolt"
)

// What a guarded request costs beside the bare handler, and beside what writing
// 1 KB to bbolt takes without us: a miss has two writes, a hit none. With sync
// the disk is measured, and many requests at once share its time.
func BenchmarkMiddleware(b *testing.B) {
	body := strings.Repeat("x", 1000)
	handler := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		_, _ = w.Write([]byte(body))
	})
	memory, err := idempotency.NewMemory(idempotency.MemoryOptions{})
	if err != nil {
		b.Fatal(err)
	}
	file := func(sync bool) idempotency.Store {
		s, err := bolt.Open(bolt.Options{Path: filepath.Join(b.TempDir(), "store"), NoSync: !sync})
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { s.Close() })
		return s
	}
	post := func(h http.Handler, key string) {
		r := httptest.NewRequest(http.MethodPost, "/orders", strings.NewReader(body))
		if key != "" {
			r.Header.Set(idempotency.Header, key)
		}
		w := httptest.NewRecorder()
		if h.ServeHTTP(w, r); w.Code != http.StatusOK {
			b.Errorf("status %d: %s", w.Code, w.Body)
		}
	}
	b.Run("bare handler", func(b *testing.B) {
		for b.Loop() {
			post(handler, "")
		}
	})
	for _, s := range []struct {
		name  string
		store idempotency.Store
	}{{"memory", memory}, {"bolt without sync", file(false)}, {"bolt", file(true)}} {
		guard, err := idempotency.New(idempotency.Options{Store: s.store})
		if err != nil {
			b.Fatal(err)
		}
		h := guard.Middleware(handler)
		b.Run(s.name+"/no key", func(b *testing.B) {
			for b.Loop() {
				post(h, "")
			}
		})
		b.Run(s.name+"/hit", func(b *testing.B) {
			post(h, "known")
			for b.Loop() {
				post(h, "known")
			}
		})
		b.Run(s.name+"/miss", func(b *testing.B) {
			for b.Loop() {
				post(h, idempotency.NewKey())
			}
		})
		b.Run(s.name+"/miss, 64 at once", func(b *testing.B) {
			b.SetParallelism(64)
			b.RunParallel(func(p *testing.PB) {
				for p.Next() {
					post(h, idempotency.NewKey())
				}
			})
		})
	}
	for name, sync := range map[string]bool{"plain put": true, "plain put without sync": false} {
		b.Run(name, func(b *testing.B) {
			db, err := bbolt.Open(filepath.Join(b.TempDir(), "plain"), 0o600, &bbolt.Options{NoSync: !sync, NoFreelistSync: true})
			if err != nil {
				b.Fatal(err)
			}
			defer db.Close()
			value := []byte(body)
			for b.Loop() {
				err := db.Update(func(tx *bbolt.Tx) error {
					bucket, err := tx.CreateBucketIfNotExists([]byte("plain"))
					if err != nil {
						return err
					}
					return bucket.Put([]byte(idempotency.NewKey()), value)
				})
				if err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
