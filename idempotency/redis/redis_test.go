package redis_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/innermesh/innermesh/idempotency"
	"github.com/innermesh/innermesh/idempotency/idempotencytest"
	"github.com/innermesh/innermesh/idempotency/redis"
)

func TestContract(t *testing.T) {
	c := client(t)
	var prefix string
	idempotencytest.Run(t, idempotencytest.Harness{
		Open: func(t *testing.T) idempotency.Store {
			prefix = unique(t)
			return open(t, redis.Options{Client: client(t), Prefix: prefix})
		},
		Advance: func(t *testing.T, d time.Duration) { age(t, c, prefix, d) },
		Corrupt: func(t *testing.T, id idempotency.ID) {
			key := prefix + id.String()
			o, err := c.HGet(t.Context(), key, "o").Result()
			check(t, err)
			check(t, c.HSet(t.Context(), key, "o", o[:len(o)-1]+"?").Err())
		},
	})
}

// age makes everything older, as the server's own clock can not be set.
func age(t *testing.T, c *goredis.Client, prefix string, d time.Duration) {
	t.Helper()
	check(t, goredis.NewScript(`
for _, key in ipairs(redis.call('KEYS', ARGV[1] .. '*')) do
	local left = redis.call('PTTL', key) - ARGV[2]
	if left <= 0 then
		redis.call('DEL', key)
	else
		redis.call('PEXPIRE', key, string.format('%.0f', left))
		redis.call('HINCRBY', key, 'l', '-' .. ARGV[2])
	end
end
return 1`).Run(t.Context(), c, nil, prefix, d.Milliseconds()).Err())
}

func TestForeignKeysAreCorrupt(t *testing.T) {
	c := client(t)
	prefix := unique(t)
	s := open(t, redis.Options{Client: c, Prefix: prefix})
	id := idempotencytest.Name(t, "one")
	key := prefix + id.String()
	for name, spoil := range map[string]func() error{
		"not a hash": func() error { return c.Set(t.Context(), key, "x", 0).Err() },
		"a newer version": func() error {
			return c.HSet(t.Context(), key, "v", 2, "t", "t", "s", 0, "f", "f", "n", 1, "l", 1).Err()
		},
		"half a record": func() error { return c.HSet(t.Context(), key, "v", 1, "t", "t", "s", 0).Err() },
		"no number": func() error {
			return c.HSet(t.Context(), key, "v", 1, "t", "t", "s", 0, "f", "f", "n", "x", "l", 1).Err()
		},
	} {
		check(t, c.Del(t.Context(), key).Err())
		check(t, spoil())
		_, err := s.Begin(t.Context(), idempotency.Claim{ID: id, Lease: time.Second, TTL: time.Second})
		for verb, err := range map[string]error{
			"begin": err, "renew": s.Renew(t.Context(), id, idempotency.Token{}, time.Second),
			"complete": s.Complete(t.Context(), id, idempotency.Token{}, idempotency.Outcome{}, time.Second),
			"abandon":  s.Abandon(t.Context(), id, idempotency.Token{}),
		} {
			if !errors.Is(err, idempotency.ErrCorrupt) {
				t.Errorf("%s: %s: %v, want ErrCorrupt", name, verb, err)
			}
		}
	}
}

func TestFull(t *testing.T) {
	c := client(t)
	s := open(t, redis.Options{Client: c, Prefix: unique(t)})
	running := idempotency.Claim{
		ID: idempotencytest.Name(t, "running"), Token: idempotency.NewToken(), Lease: time.Minute, TTL: time.Minute,
	}
	_, err := s.Begin(t.Context(), running)
	check(t, err)
	check(t, c.ConfigSet(t.Context(), "maxmemory", "1").Err())
	defer func() { check(t, c.ConfigSet(context.WithoutCancel(t.Context()), "maxmemory", "0").Err()) }()
	next := running
	next.ID = idempotencytest.Name(t, "next")
	if _, err := s.Begin(t.Context(), next); !errors.Is(err, idempotency.ErrFull) {
		t.Errorf("begin: %v, want ErrFull", err)
	}
	if err := s.Complete(t.Context(), running.ID, running.Token, idempotencytest.Outcome(), time.Minute); !errors.Is(err, idempotency.ErrFull) {
		t.Errorf("complete: %v, want ErrFull", err)
	}
	check(t, s.Abandon(t.Context(), running.ID, running.Token)) // makes room
}

// A server that accepts and never answers costs the time of the question.
func TestServerThatDoesNotAnswer(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	defer ln.Close()
	c := goredis.NewClient(&goredis.Options{Addr: ln.Addr().String(), ContextTimeoutEnabled: true})
	defer c.Close()
	s := open(t, redis.Options{Client: c})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	start := time.Now()
	_, err = s.Begin(ctx, idempotency.Claim{Lease: time.Second, TTL: time.Second})
	if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) > 2*time.Second {
		t.Errorf("after %v: %v", time.Since(start), err)
	}
}

// Many processes, each with a client of its own: one is first.
func TestManyMachines(t *testing.T) {
	var all sync.WaitGroup
	firsts := make(chan int, 100)
	ids := make([]idempotency.ID, 20)
	for i := range ids {
		ids[i] = idempotencytest.Name(t, fmt.Sprint(i))
	}
	prefix := unique(t)
	for range 5 {
		s := open(t, redis.Options{Client: client(t), Prefix: prefix})
		all.Go(func() {
			for i, id := range ids {
				e, err := s.Begin(t.Context(), idempotency.Claim{ID: id, Token: idempotency.NewToken(), Lease: time.Minute, TTL: time.Minute})
				if err != nil {
					t.Error(err)
				}
				if e.State == idempotency.First {
					firsts <- i
				}
			}
		})
	}
	all.Wait()
	if n := len(firsts); n != len(ids) {
		t.Errorf("%d firsts of %d operations", n, len(ids))
	}
}

func TestBadOptions(t *testing.T) {
	c := goredis.NewClient(&goredis.Options{})
	defer c.Close()
	for want, o := range map[string]redis.Options{"no Client": {}, "ContextTimeoutEnabled": {Client: c}} {
		if _, err := redis.New(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

// unique returns a prefix that no other run of a test uses.
func unique(t testing.TB) string { return t.Name() + rand.Text() + ":" }

func open(t testing.TB, o redis.Options) *redis.Store {
	t.Helper()
	s, err := redis.New(o)
	check(t, err)
	return s
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
