package redis_test

import (
	"log"

	goredis "github.com/redis/go-redis/v9"

	"github.com/innermesh/innermesh/idempotency"
	"github.com/innermesh/innermesh/idempotency/redis"
)

func Example() {
	client := goredis.NewClient(&goredis.Options{Addr: "127.0.0.1:6379", ContextTimeoutEnabled: true})
	defer client.Close()
	store, err := redis.New(redis.Options{Client: client, Prefix: "orders:idempotency:"})
	if err != nil {
		log.Fatal(err)
	}
	guard, err := idempotency.New(idempotency.Options{Store: store})
	if err != nil {
		log.Fatal(err)
	}
	_ = guard // guard.Middleware(handler)
	// Output:
}
