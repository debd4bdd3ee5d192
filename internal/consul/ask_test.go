package consul

import (
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// webs is a watch that does not believe every empty list.
var webs = Query{Path: "/v1/health/service/web", Read: Cached, ConfirmEmpty: true}

var hidden = map[string]string{"X-Consul-Results-Filtered-By-ACLs": "true"}

func TestMemoryLostBehindAnError(t *testing.T) {
	serve := func(_ int, r request) reply {
		switch {
		case r.at < time.Minute:
			a := unchanged(r, 900, `["a","b"]`)
			a.after = min(a.after, time.Minute-r.at)
			return a
		case r.at < 2*time.Minute:
			return reply{err: errors.New("connection refused")}
		case r.at < 3*time.Minute:
			a := unchanged(r, 17, `["a"]`)
			a.after = min(a.after, 3*time.Minute-r.at)
			return a
		default:
			return unchanged(r, 18, `["a","b"]`)
		}
	}
	bubble(t, serve, func(t *testing.T, _ *fake, c *Client) {
		told := record(t, c, webs)
		pass(4 * time.Minute)
		wantTold(t, told(), `["a","b"] error:unreachable reset:["a"] ["a","b"]`)
		wantTold(t, record(t, c, webs)(), `["a","b"]`) // who comes later has seen nothing go backwards
	})
}

// A reader who sleeps through a reset learns of it with the next answer.
func TestResetIsNotMissed(t *testing.T) {
	serve := func(n int, r request) reply {
		switch n {
		case 1:
			return reply{index: "900", body: `["a"]`}
		case 2:
			return reply{after: time.Second, index: "17", body: `["b"]`}
		case 3:
			return reply{after: time.Second, index: "18", body: `["c"]`}
		default:
			return forever
		}
	}
	bubble(t, serve, func(t *testing.T, _ *fake, c *Client) {
		awake := make(chan struct{})
		var got []Result
		done := make(chan struct{})
		go func() {
			defer close(done)
			_ = c.Watch(t.Context(), webs, func(r Result) {
				if got = append(got, r); len(got) == 1 {
					<-awake
				}
			})
		}()
		pass(time.Minute)
		close(awake)
		synctest.Wait()
		c.Close()
		<-done
		wantTold(t, got, `["a"] reset:["c"]`)
	})
}

func TestEmptyForWantOfPermission(t *testing.T) {
	for _, c := range []struct {
		name  string
		full  time.Duration // how long the token may see something
		stale reply         // why the list is empty
		want  string
	}{
		{"from the start", 0, reply{index: "5", body: "[]", header: hidden}, "error:permission"},
		{"later", time.Minute, reply{index: "5", body: "[]", header: hidden}, `["a"] error:permission`},
		{"unknown token", 0, reply{status: http.StatusForbidden, body: "ACL not found"}, "error:permission"},
		{"nothing hidden", 0, reply{index: "5", body: "[]"}, "[]"},
		{"nobody can say", 0, reply{status: http.StatusInternalServerError, body: "No cluster leader"}, "[]"},
		{"the cache was behind", 0, reply{index: "5", body: `["b"]`}, `["b"]`},
		{"some of it hidden", 0, reply{index: "5", body: `["b"]`, header: hidden}, `["b"]`},
	} {
		t.Run(c.name, func(t *testing.T) {
			serve := func(_ int, r request) reply {
				if r.query.Has("stale") || r.query.Has("consistent") {
					return c.stale
				}
				if r.at < c.full {
					a := unchanged(r, 4, `["a"]`)
					a.after = min(a.after, c.full-r.at)
					return a
				}
				return unchanged(r, 5, "[]") // stream and cache do not say that they hide something
			}
			bubble(t, serve, func(t *testing.T, f *fake, client *Client) {
				told := record(t, client, webs)
				pass(20 * time.Minute)
				wantTold(t, told(), c.want)
				if n := len(f.seen()); c.want == "[]" && n > 7 {
					t.Errorf("%d requests in 20 quiet minutes: the reason is asked for once", n)
				}
			})
		})
	}
}

// An agent that is asked out of its cache goes on asking the servers for a token
// that they do not know, and says nothing.
func TestSilenceForAnUnknownToken(t *testing.T) {
	serve := func(_ int, r request) reply {
		if r.query.Has("cached") {
			return forever
		}
		return reply{status: http.StatusForbidden, body: "ACL not found"}
	}
	bubble(t, serve, func(t *testing.T, _ *fake, c *Client) {
		told := record(t, c, webs)
		pass(fromCache - time.Millisecond)
		wantTold(t, told(), "")
		pass(time.Hour)
		wantTold(t, told(), "error:permission")
	})
}

func TestNothingShownWithoutAToken(t *testing.T) {
	for token, want := range map[string]int{"": 1, "secret": 0} {
		synctest.Test(t, func(t *testing.T) {
			var log journal
			f := &fake{answer: func(_ int, r request) reply {
				a := unchanged(r, 5, "[]")
				a.header = map[string]string{"X-Consul-Default-Acl-Policy": "deny"}
				return a
			}}
			c := newClient(t, Options{Transport: f, Token: token, Logger: slog.New(slog.NewTextHandler(&log, nil))})
			wantTold(t, record(t, c, webs)(), "[]")
			other := webs
			other.Path += "2"
			wantTold(t, record(t, c, other)(), "[]")
			if n := strings.Count(log.String(), "needs a token"); n != want {
				t.Errorf("token %q: the lack of one was logged %d times, want %d", token, n, want)
			}
		})
	}
}

func TestGetChanged(t *testing.T) {
	serve := func(n int, r request) reply {
		hash := map[string]string{"X-Consul-ContentHash": "h1"}
		switch {
		case n == 1:
			return reply{body: "{}", header: hash}
		case n == 2:
			return reply{after: 5 * time.Second, body: "{}", header: hash}
		default:
			return forever
		}
	}
	bubble(t, serve, func(t *testing.T, f *fake, c *Client) {
		for _, hash := range []string{"", "h1"} {
			if res, err := c.GetChanged(t.Context(), "/v1/agent/service/web", hash, 5*time.Second); err != nil || res.Hash != "h1" || !res.Found {
				t.Errorf("after %q: %+v, %v", hash, res, err)
			}
		}
		start := time.Now()
		if _, err := c.GetChanged(t.Context(), "/v1/agent/service/web", "h1", 8*time.Second); !errors.Is(err, ErrUnreachable) {
			t.Errorf("from an agent that is silent: %v", err)
		}
		if took, want := time.Since(start), 8*time.Second+time.Second/2+margin; took != want {
			t.Errorf("gave up after %v, want %v", took, want)
		}
		first, second := f.seen()[0].query, f.seen()[1].query
		if len(first) != 0 || second.Get("hash") != "h1" || second.Get("wait") != "5s" {
			t.Errorf("asked %v, then %v", first, second)
		}
	})
}
