package consul

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// However many watches there are, an outage is told of when it begins and when it
// is over; one after the other, once a minute.
func TestOutageIsToldOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var down atomic.Bool
		var log journal
		f := &fake{answer: func(n int, r request) reply {
			switch {
			case !down.Load():
				return unchanged(request{}, 1, `[]`)
			case strings.HasSuffix(r.path, "3"):
				return reply{status: 500, body: "No cluster leader"}
			default:
				return reply{err: errors.New("connection refused")}
			}
		}}
		c := newClient(t, Options{Transport: f, Logger: slog.New(slog.NewTextHandler(&log, nil))})
		for i := range 20 {
			record(t, c, Query{Path: fmt.Sprintf("/v1/thing/%d", i)})
		}
		seen := 0
		logged := func(want ...string) {
			t.Helper()
			text := log.String()[seen:]
			seen += len(text)
			if n := strings.Count(text, "\n"); n != len(want) {
				t.Errorf("logged %d lines, want %d:\n%s", n, len(want), text)
			}
			for _, w := range want {
				if !strings.Contains(text, w) {
					t.Errorf("logged\n%s, want %q", text, w)
				}
			}
		}
		pass(time.Minute)
		logged()
		down.Store(true)
		pass(10 * time.Minute)
		logged("connection refused", "No cluster leader")
		down.Store(false)
		pass(time.Minute)
		logged("Consul answers again")
		for range 3 { // it comes and goes
			down.Store(true)
			pass(2 * time.Second)
			down.Store(false)
			pass(35 * time.Second)
		}
		if text := log.String()[seen:]; strings.Count(text, "does not answer") > 4 || strings.Count(text, "answers again") > 2 {
			t.Errorf("logged\n%s", text)
		}
	})
}

// What is the matter with one question is told of it, also amid an outage.
func TestOneQuestionIsNoOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log journal
		f := &fake{answer: func(_ int, r request) reply {
			if strings.HasSuffix(r.path, "bad") {
				return reply{status: 400, body: "no such filter"}
			}
			return reply{status: 503, body: "down"}
		}}
		c := newClient(t, Options{Transport: f, Logger: slog.New(slog.NewTextHandler(&log, nil))})
		for _, path := range []string{"/v1/a", "/v1/b", "/v1/bad", "/v1/too-bad"} {
			record(t, c, Query{Path: path})
		}
		pass(time.Hour)
		if got := log.String(); strings.Count(got, "\n") != 3 || !strings.Contains(got, "path=/v1/bad") || !strings.Contains(got, "path=/v1/too-bad") {
			t.Errorf("logged\n%s", got)
		}
	})
}
