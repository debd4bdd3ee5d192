package consul

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

var web = Query{Path: "/v1/health/service/web", Read: Cached}

func TestQuietHour(t *testing.T) {
	quiet := func(_ int, r request) reply { return unchanged(r, 7, `["a"]`) }
	bubble(t, quiet, func(t *testing.T, f *fake, c *Client) {
		told := record(t, c, web)
		pass(time.Hour - time.Millisecond)
		wantTold(t, told(), `["a"]`)
		if n := len(f.seen()); n > 13 {
			t.Errorf("%d calls in a quiet hour, want at most 13", n)
		}
		for i, r := range f.seen() {
			wantIndex, wantWait := uint64(7), "5m0s"
			if i == 0 {
				wantIndex, wantWait = 0, ""
			}
			if r.index() != wantIndex || r.query.Get("wait") != wantWait || !r.query.Has("cached") || r.query.Has("stale") {
				t.Errorf("call %d: %v", i, r.query)
			}
		}
	})
}

func TestServerMayTakeItsJitter(t *testing.T) {
	slow := func(_ int, r request) reply {
		a := unchanged(r, 7, `["a"]`)
		a.after += a.after/16 + 10*time.Second
		return a
	}
	bubble(t, slow, func(t *testing.T, _ *fake, c *Client) {
		told := record(t, c, web)
		pass(time.Hour)
		wantTold(t, told(), `["a"]`)
	})
}

func TestIndexGoesBackwards(t *testing.T) {
	// A restored server has small indexes and blocks on large ones.
	serve := func(n int, r request) reply {
		switch {
		case n == 1:
			return reply{index: "900", body: `["old"]`}
		case r.index() == 900:
			return reply{after: time.Minute, index: "20", body: `["old"]`}
		default:
			a := unchanged(r, 21, `["restored"]`)
			a.after += time.Second
			return a
		}
	}
	bubble(t, serve, func(t *testing.T, f *fake, c *Client) {
		told := record(t, c, web)
		pass(time.Minute + 3*time.Second)
		// What comes after a restart is told in any case: it starts anew.
		wantTold(t, told(), `["old"] reset:["old"] ["restored"]`)
		if r := f.seen()[2]; r.query.Has("index") {
			t.Errorf("asked with index %d after it went backwards, want none", r.index())
		}
	})
}

func TestIndexIsNeverZero(t *testing.T) {
	serve := func(_ int, r request) reply {
		a := unchanged(r, 1, `["a"]`)
		a.index = "0"
		return a
	}
	bubble(t, serve, func(t *testing.T, f *fake, c *Client) {
		record(t, c, web)
		pass(time.Minute)
		if all := f.seen(); len(all) != 2 || all[1].index() != 1 {
			t.Errorf("%d calls, the second with index %d: want 2, index 1", len(all), all[1].index())
		}
	})
}

func TestUnchangedContentIsNotTold(t *testing.T) {
	serve := func(n int, _ request) reply {
		return reply{after: time.Second, index: strconv.Itoa(10 + n), body: fmt.Sprintf(`["%d"]`, n/10)}
	}
	bubble(t, serve, func(t *testing.T, _ *fake, c *Client) {
		told := record(t, c, web)
		pass(25*time.Second + time.Millisecond)
		wantTold(t, told(), `["0"] ["1"] ["2"]`)
	})
}

func TestSpinningServerIsNotFollowed(t *testing.T) {
	serve := func(n int, _ request) reply { return reply{index: strconv.Itoa(n), body: `["a"]`} }
	bubble(t, serve, func(t *testing.T, f *fake, c *Client) {
		told := record(t, c, web)
		pass(time.Minute)
		wantTold(t, told(), `["a"]`)
		if n := len(f.seen()); n > 120+burst {
			t.Errorf("%d calls in a minute, want at most %d", n, 120+burst)
		}
	})
}

func TestErrorsKeepWhatIsKnown(t *testing.T) {
	for name, bad := range map[string]reply{
		"500":         {status: 500, index: "1", body: "No cluster leader"},
		"429":         {status: 429, index: "1", body: "too many concurrent connections"},
		"503":         {status: 503, body: "error reading from server: EOF"},
		"unreachable": {err: errors.New("connection refused")},
		"malformed":   {index: "12", body: `[{"Node":`},
	} {
		t.Run(name, func(t *testing.T) {
			serve := func(n int, r request) reply {
				if r.at > 0 && r.at < 10*time.Minute {
					return bad
				}
				a := unchanged(r, 500, `["a"]`)
				a.after = min(a.after, time.Second)
				if n > 1 {
					a.after = 0
				}
				if n == 1 {
					a.after = time.Millisecond
				}
				return a
			}
			bubble(t, serve, func(t *testing.T, f *fake, c *Client) {
				told := record(t, c, web)
				pass(9 * time.Minute)
				wantTold(t, told(), `["a"] error:`+name)
				n := len(f.seen())
				if n < 15 || n > 9*60 {
					t.Errorf("%d calls in 9 minutes of trouble, want backoff between 1 s and 30 s", n)
				}
				for _, r := range f.seen()[2:] {
					if r.query.Has("index") {
						t.Fatalf("a retry asked with index %d: whoever answers may have forgotten it", r.index())
					}
				}
				pass(2 * time.Minute)
				wantTold(t, told(), `["a"] error:`+name+` ["a"]`)
			})
		})
	}
}

func TestFirstErrorIsToldAtOnceAndAgainWhenItsKindChanges(t *testing.T) {
	serve := func(n int, r request) reply {
		switch {
		case n <= 5:
			return reply{err: fmt.Errorf("refused, try %d", n)}
		case n <= 10:
			return reply{status: 500, body: fmt.Sprintf("No cluster leader %d", n)}
		}
		return unchanged(r, 3, `["a"]`)
	}
	synctest.Test(t, func(t *testing.T) {
		var log journal
		c := newClient(t, Options{Transport: &fake{answer: serve}, Logger: slog.New(slog.NewTextHandler(&log, nil))})
		told := record(t, c, web)
		wantTold(t, told(), `error:unreachable`)
		if err := told()[0].Err; !errors.Is(err, ErrUnreachable) || !strings.Contains(err.Error(), "refused, try 1") {
			t.Errorf("told %v", err)
		}
		pass(10 * time.Minute)
		wantTold(t, told(), `error:unreachable error:500 ["a"]`)
		if n := strings.Count(log.String(), "\n"); n != 3 {
			t.Errorf("%d log lines, want one for each change of state:\n%s", n, &log)
		}
	})
}

func TestForbiddenIsAskedSlowly(t *testing.T) {
	serve := func(_ int, r request) reply {
		if r.at < time.Hour {
			return reply{status: 403, body: "Permission denied: token secret-token lacks service:read"}
		}
		return unchanged(r, 3, `["a"]`)
	}
	synctest.Test(t, func(t *testing.T) {
		var log journal
		f := &fake{answer: serve}
		c := newClient(t, Options{Transport: f, Token: "secret-token", Logger: slog.New(slog.NewTextHandler(&log, nil))})
		told := record(t, c, web)
		pass(time.Hour - time.Second)
		wantTold(t, told(), `error:permission`)
		if n := len(f.seen()); n < 60 || n > 121 {
			t.Errorf("%d calls in an hour, want one each 30 to 60 s", n)
		}
		if err := told()[0].Err; !errors.Is(err, ErrPermission) || strings.Contains(err.Error(), "secret-token") {
			t.Errorf("told %v", err)
		}
		if s := log.String(); !strings.Contains(s, "level=ERROR") || strings.Contains(s, "secret-token") {
			t.Errorf("log: %s", s)
		}
		pass(2 * time.Minute)
		wantTold(t, told(), `error:permission ["a"]`)
	})
}

func TestBadAnswers(t *testing.T) {
	for name, c := range map[string]struct {
		bad  reply
		kind string
	}{
		"no index":         {reply{body: `[]`}, "malformed"},
		"index of letters": {reply{body: `[]`, index: "x"}, "malformed"},
		"not JSON":         {reply{body: `<html>`, index: "3"}, "malformed"},
		"empty":            {reply{index: "3"}, "malformed"},
		"truncated":        {reply{body: `[{"a"`, index: "3", broken: true}, "unreachable"},
		"too large":        {reply{body: `["` + strings.Repeat("x", 1<<20) + `"]`, index: "3"}, "malformed"},
		"no such endpoint": {reply{status: 404, body: "page not found"}, "404"},
		"redirect":         {reply{status: 301}, "301"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &fake{answer: func(int, request) reply { return c.bad }}
				told := record(t, newClient(t, Options{Transport: f, MaxBody: 1 << 20}), web)
				wantTold(t, told(), "error:"+c.kind)
			})
		})
	}
}

func TestHangingServer(t *testing.T) {
	serve := func(n int, _ request) reply {
		if n == 1 {
			return reply{index: "3", body: `["a"]`}
		}
		return forever
	}
	bubble(t, serve, func(t *testing.T, f *fake, c *Client) {
		told := record(t, c, web)
		pass(5*time.Minute + 5*time.Minute/16 + margin + time.Second)
		wantTold(t, told(), `["a"] error:unreachable`)
		if err := told()[1].Err; errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v looks like a caller's deadline", err)
		}
		pass(time.Hour)
		start := time.Now()
		c.Close()
		if took := time.Since(start); took > 100*time.Millisecond || f.open != 0 {
			t.Errorf("Close took %v and left %d requests", took, f.open)
		}
	})
}

func TestNotFoundIsAnAnswer(t *testing.T) {
	serve := func(_ int, r request) reply {
		if r.at >= time.Minute {
			return unchanged(r, 9, `["there"]`)
		}
		a := unchanged(r, 5, "")
		a.status, a.after = 404, min(a.after, time.Minute)
		return a
	}
	bubble(t, serve, func(t *testing.T, f *fake, c *Client) {
		told := record(t, c, Query{Path: "/v1/config/mesh/mesh"})
		pass(2 * time.Minute)
		wantTold(t, told(), `none ["there"]`)
		if r := f.seen()[1]; r.index() != 5 {
			t.Errorf("blocked on index %d, want that of the 404", r.index())
		}
		if !f.seen()[0].query.Has("stale") {
			t.Error("not asked stale")
		}
	})
}

func TestEmptyIsConfirmed(t *testing.T) {
	for _, c := range []struct {
		name    string
		confirm []reply // answers of the consistent reads, the last one stays
		want    string
	}{
		{"obeyed", []reply{{index: "13", body: "[]"}}, `["a"] []`},
		{"refuted", []reply{{index: "13", body: `["b"]`}}, `["a"] ["b"]`},
		{"no leader", []reply{{status: 500, body: "No cluster leader"}}, `["a"] error:500`},
		{"no leader for a while", []reply{{status: 500}, {status: 500}, {index: "13", body: "[]"}}, `["a"] error:500 []`},
	} {
		t.Run(c.name, func(t *testing.T) {
			confirms := 0
			serve := func(n int, r request) reply {
				switch {
				case r.query.Has("consistent"):
					if r.query.Has("stale") || r.query.Has("cached") || r.query.Has("index") {
						t.Errorf("confirmed with %v", r.query)
					}
					confirms++
					return c.confirm[min(confirms, len(c.confirm))-1]
				case n == 1:
					return reply{index: "10", body: `["a"]`}
				case r.index() < 12:
					return reply{after: time.Second, index: "12", body: "[]"}
				default:
					return forever
				}
			}
			bubble(t, serve, func(t *testing.T, _ *fake, client *Client) {
				q := web
				q.ConfirmEmpty = true
				told := record(t, client, q)
				pass(2 * time.Minute)
				wantTold(t, told(), c.want)
				if c.name == "obeyed" && confirms != 1 {
					t.Errorf("confirmed %d times", confirms)
				}
			})
		})
	}
}

func TestWatchesAreShared(t *testing.T) {
	quiet := func(_ int, r request) reply { return unchanged(r, 7, `["a"]`) }
	bubble(t, quiet, func(t *testing.T, f *fake, c *Client) {
		first := record(t, c, web)
		pass(time.Minute)
		for range 9 {
			wantTold(t, record(t, c, web)(), `["a"]`) // at once, although the query blocks
		}
		wantTold(t, first(), `["a"]`)
		if n := len(f.seen()); n != 2 {
			t.Errorf("%d requests for ten watches of one key, want 2", n)
		}
		other := web
		other.Datacenter = "dc2"
		wantTold(t, record(t, c, other)(), `["a"]`)
		if r := f.seen()[2]; r.query.Get("dc") != "dc2" || r.query.Has("index") {
			t.Errorf("another datacenter was asked %v: one cursor each", r.query)
		}
	})
}

func TestLastSubscriberEndsTheQuery(t *testing.T) {
	quiet := func(_ int, r request) reply { return unchanged(r, 7, `["a"]`) }
	bubble(t, quiet, func(t *testing.T, f *fake, c *Client) {
		watch := func() (stop func()) {
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() { done <- c.Watch(ctx, web, func(Result) {}) }()
			synctest.Wait()
			return func() {
				cancel()
				if err := <-done; !errors.Is(err, context.Canceled) {
					t.Errorf("Watch returned %v", err)
				}
			}
		}
		stopOne, stopTwo := watch(), watch()
		stopOne()
		if f.open != 1 {
			t.Errorf("%d queries open while one still watches", f.open)
		}
		start := time.Now()
		stopTwo()
		if f.open != 0 || time.Since(start) > 100*time.Millisecond || len(c.watches) != 0 {
			t.Errorf("%d queries open, %d watches known after the last one left", f.open, len(c.watches))
		}
		watch()() // and it can begin again
	})
}

func TestLateSubscriberIsToldOfTrouble(t *testing.T) {
	serve := func(n int, r request) reply {
		if n == 1 {
			return unchanged(r, 7, `["a"]`)
		}
		return reply{after: time.Second, status: 500}
	}
	bubble(t, serve, func(t *testing.T, _ *fake, c *Client) {
		record(t, c, web)
		pass(10 * time.Second)
		wantTold(t, record(t, c, web)(), `["a"] error:500`)
	})
}

func TestClosedClient(t *testing.T) {
	quiet := func(_ int, r request) reply { return unchanged(r, 7, `["a"]`) }
	bubble(t, quiet, func(t *testing.T, _ *fake, c *Client) {
		done := make(chan error, 1)
		go func() { done <- c.Watch(t.Context(), web, func(Result) {}) }()
		synctest.Wait()
		c.Close()
		c.Close()
		if err := <-done; !errors.Is(err, ErrClosed) {
			t.Errorf("a watch ended with %v", err)
		}
		if err := c.Watch(t.Context(), web, func(Result) { t.Error("told") }); !errors.Is(err, ErrClosed) {
			t.Errorf("a new watch: %v", err)
		}
		if _, err := c.Get(t.Context(), "/v1/x", nil); !errors.Is(err, ErrClosed) {
			t.Errorf("a request: %v", err)
		}
		if _, err := c.Go(func(context.Context) {}); !errors.Is(err, ErrClosed) {
			t.Errorf("a loop: %v", err)
		}
	})
}

func TestManyWatchesWarnOnce(t *testing.T) {
	quiet := func(_ int, r request) reply { return unchanged(r, 7, `["a"]`) }
	synctest.Test(t, func(t *testing.T) {
		var log journal
		c := newClient(t, Options{Transport: &fake{answer: quiet}, Logger: slog.New(slog.NewTextHandler(&log, nil))})
		for i := range 120 {
			if i == blocking {
				synctest.Wait()
				if log.String() != "" {
					t.Errorf("warned at %d: %s", i, &log)
				}
			}
			record(t, c, Query{Path: "/v1/health/service/web-" + strconv.Itoa(i)})
		}
		synctest.Wait()
		if n := strings.Count(log.String(), "take turns"); n != 1 {
			t.Errorf("warned %d times", n)
		}
	})
}

func TestTokenFileIsReadAgain(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	write := func(s string) {
		if err := os.WriteFile(file, []byte(s), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("one\n")
	synctest.Test(t, func(t *testing.T) {
		var log journal
		f := &fake{answer: func(_ int, r request) reply { return unchanged(r, 7, `["a"]`) }}
		c := newClient(t, Options{Transport: f, TokenFile: file, Logger: slog.New(slog.NewTextHandler(&log, nil))})
		record(t, c, web)
		pass(time.Second)
		write("two\n")
		pass(5 * time.Minute)
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
		pass(10 * time.Minute)
		var tokens []string
		for _, r := range f.seen() {
			tokens = append(tokens, r.token)
		}
		if got := strings.Join(tokens, " "); got != "one one two two two" {
			t.Errorf("tokens sent: %s", got)
		}
		if n := strings.Count(log.String(), "token file"); n != 1 || strings.Contains(log.String(), "two") {
			t.Errorf("log: %s", &log)
		}
	})
}

func TestKV(t *testing.T) {
	pair := func(value string, index int) reply { // "dg==" is "v"
		return reply{after: time.Second, index: strconv.Itoa(index), body: fmt.Sprintf(`[{"Key":"a/b c","Value":%s,"ModifyIndex":%d}]`, value, index)}
	}
	replies := []reply{
		{status: http.StatusNotFound, index: "3"},
		pair(`"dg=="`, 4),
		pair(`"dg=="`, 5), // the same once more
		pair(`null`, 6),
		{after: time.Second, index: "7", body: `{"not":"a list"}`},
		pair(`null`, 8),
		{after: time.Second, status: http.StatusNotFound, index: "9"},
	}
	serve := func(n int, r request) reply {
		if r.path != "/v1/kv/a/b c" {
			t.Errorf("asked %q", r.path)
		}
		if n > len(replies) {
			return forever
		}
		return replies[n-1]
	}
	bubble(t, serve, func(t *testing.T, _ *fake, c *Client) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var got []string
		done := make(chan struct{})
		go func() {
			defer close(done)
			_ = c.WatchKV(ctx, "a/b c", func(kv KV) {
				got = append(got, fmt.Sprintf("%s/%v/%d/%s", kv.Value, kv.Found, kv.Index, kind(kv.Err)))
			})
		}()
		pass(time.Minute)
		want := "/false/3/ v/true/4/ /true/6/ /false/0/malformed /true/8/ /false/9/"
		if s := strings.Join(got, " "); s != want {
			t.Errorf("told %s\nwant %s", s, want)
		}
		cancel()
		<-done
	})
}

func FuzzDecodeKV(f *testing.F) {
	for _, seed := range []string{`[]`, `null`, `[{"Value":"dg==","ModifyIndex":5}]`, `[{"Value":null}]`, `[{},{}]`, `{}`, `[{"Value":7}]`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		kv := decodeKV(Result{Body: body, Found: true})
		if kv.Found == (kv.Err != nil) {
			t.Errorf("found %v with error %v", kv.Found, kv.Err)
		}
		if kv.Err != nil && !errors.Is(kv.Err, ErrMalformed) {
			t.Errorf("error %v", kv.Err)
		}
	})
}

func FuzzEmptyList(f *testing.F) {
	for _, seed := range []string{`[]`, ` [ ] `, `null`, ``, `[1]`, `[[]]`, `{}`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, body string) {
		if emptyList([]byte(body)) && strings.ContainsAny(body, `"{0123456789`) {
			t.Errorf("%q counts as empty", body)
		}
	})
}
