package cluster_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/innermesh/innermesh/call"
	"github.com/innermesh/innermesh/discovery"
	"github.com/innermesh/innermesh/internal/cluster"
	"github.com/innermesh/innermesh/internal/mono"
	"github.com/innermesh/innermesh/policy"
)

// script is a source that tells what the test says.
type script chan discovery.Update

func (s script) Watch(ctx context.Context, _ string, tell func(discovery.Update)) error {
	for {
		select {
		case u := <-s:
			tell(u)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// A source that fails is told of when it begins and when it is over, however
// often it fails in between; one that fails and answers in turns, once a minute.
func TestFailingDiscoveryIsToldOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		source := make(script)
		c := openWith(t, source, policy.Service{}, func(o *cluster.Options) { o.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
		defer c.Close()
		fail, answer := discovery.Update{Err: errors.New("down")}, discovery.Update{}
		say := func(u discovery.Update, want string, silent time.Duration) {
			t.Helper()
			source <- u
			synctest.Wait()
			if got := strings.Count(log.String(), "discovery"); (want == "") != (got == 0) || !strings.Contains(log.String(), want) || got > 1 {
				t.Errorf("logged %q, want %q", &log, want)
			}
			if got := c.Silent(mono.Now()); got != silent {
				t.Errorf("silent for %v, want %v", got, silent)
			}
			log.Reset()
			time.Sleep(10 * time.Second)
		}
		say(fail, "discovery failed", 0)
		say(fail, "", 10*time.Second)
		say(fail, "", 20*time.Second)
		say(answer, "discovery answers again", 0)
		say(answer, "", 0)
		say(fail, "", 0)
		say(answer, "", 0)
		time.Sleep(time.Minute)
		say(fail, "discovery failed", 0)
		say(answer, "discovery answers again", 0)
	})
}

// A circuit that stays open is told of once, not with each probe that fails.
func TestFailedProbesAreNotToldOf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		registry := new(discovery.Memory)
		set(t, registry, instances("a")...)
		c := openWith(t, registry, policy.Service{Breaker: policy.Breaker{Failures: 1, Open: policy.Duration(time.Second)}},
			func(o *cluster.Options) { o.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
		defer c.Close()
		if err := c.Ready(t.Context()); err != nil {
			t.Fatal(err)
		}
		attempt := func(how call.Reason) {
			t.Helper()
			pick, err := c.View().Pick(info())
			if err != nil {
				t.Fatal(err)
			}
			pick.Judge(mono.Now(), time.Millisecond, call.Outcome{Reason: how})
			pick.Release()
			time.Sleep(time.Minute)
		}
		for range 5 {
			attempt(call.Faulty)
		}
		if n := strings.Count(log.String(), "circuit opened"); n != 1 {
			t.Errorf("told %d times that the circuit is open:\n%s", n, &log)
		}
		for range 5 {
			attempt(call.OK)
		}
		if n := strings.Count(log.String(), "circuit closed"); n != 1 {
			t.Errorf("told %d times that the circuit is closed:\n%s", n, &log)
		}
	})
}
