package redis_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/innermesh/innermesh/idempotency"
	"github.com/innermesh/innermesh/idempotency/redis"
)

// What a guarded request costs beside one PING of the same server: a miss asks
// twice, a hit once.
func BenchmarkMiddleware(b *testing.B) {
	c := client(b)
	guard, err := idempotency.New(idempotency.Options{Store: open(b, redis.Options{Client: c, Prefix: unique(b)})})
	check(b, err)
	body := strings.Repeat("x", 1000)
	h := guard.Middleware(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(body)) }))
	post := func(key string) {
		r := httptest.NewRequest(http.MethodPost, "/orders", strings.NewReader(body))
		r.Header.Set(idempotency.Header, key)
		w := httptest.NewRecorder()
		if h.ServeHTTP(w, r); w.Code != http.StatusOK {
			b.Errorf("status %d: %s", w.Code, w.Body)
		}
	}
	b.Run("ping", func(b *testing.B) {
		for b.Loop() {
			check(b, c.Ping(b.Context()).Err())
		}
	})
	b.Run("hit", func(b *testing.B) {
		for b.Loop() {
			post("known")
		}
	})
	b.Run("miss", func(b *testing.B) {
		for b.Loop() {
			post(idempotency.NewKey())
		}
	})
}
