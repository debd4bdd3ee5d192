package consul

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/innermesh/innermesh/internal/consul"
)

// registry is an agent that knows one service, whatever its ID, or nothing.
type registry struct {
	mu       sync.Mutex
	known    string // the hash of what it knows, empty for nothing
	down     bool
	sloppy   bool          // it does not wait
	changed  chan struct{} // closed by the next change
	asked    int
	puts     []time.Time
	leavings int
	refusals int // how many deregistrations it refuses
}

func (r *registry) set(change func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change()
	close(r.changed)
	r.changed = make(chan struct{})
}

func (r *registry) RoundTrip(req *http.Request) (*http.Response, error) {
	switch path := req.URL.Path; {
	case r.isDown():
		return nil, errors.New("connection refused")
	case strings.HasPrefix(path, "/v1/agent/service/register"):
		r.set(func() { r.known = "h"; r.puts = append(r.puts, time.Now()) })
	case strings.HasPrefix(path, "/v1/agent/service/deregister"):
		r.mu.Lock()
		r.leavings++
		refused := r.leavings <= r.refusals
		r.mu.Unlock()
		if refused {
			return answerOf(http.StatusInternalServerError, "No cluster leader", ""), nil
		}
		r.set(func() { r.known = "" })
	case strings.HasPrefix(path, "/v1/agent/service/"):
		return r.tell(req)
	}
	return answerOf(http.StatusOK, "{}", ""), nil
}

// tell waits as an agent does while what it knows has the asker's hash.
func (r *registry) tell(req *http.Request) (*http.Response, error) {
	r.mu.Lock()
	r.asked++
	known, changed, sloppy := r.known, r.changed, r.sloppy
	r.mu.Unlock()
	if hash := req.URL.Query().Get("hash"); hash != "" && hash == known && !sloppy {
		pause, err := time.ParseDuration(req.URL.Query().Get("wait"))
		if err != nil {
			return nil, err
		}
		timer := time.NewTimer(pause)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-changed:
		case <-req.Context().Done():
			return nil, req.Context().Err()
		}
	}
	if r.isDown() {
		return nil, io.ErrUnexpectedEOF
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.known == "" {
		return answerOf(http.StatusNotFound, "unknown service ID", ""), nil
	}
	return answerOf(http.StatusOK, `{"Service":"web","Address":"10.0.0.1","Port":80,"Weights":{"Passing":1,"Warning":1},"ID":"`+r.known+`"}`, r.known), nil
}

func (r *registry) isDown() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.down
}

func answerOf(status int, body, hash string) *http.Response {
	return &http.Response{
		StatusCode: status, Header: http.Header{"X-Consul-Contenthash": {hash}}, Body: io.NopCloser(strings.NewReader(body)),
	}
}

// kept runs a test with a registration that is kept at r.
func kept(t *testing.T, r *registry, test func(t *testing.T, leave func() error)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r.changed = make(chan struct{})
		client := newClient(t, consul.Options{Transport: r})
		reg := registrationOf("web")
		reg.TTL, reg.MeshNative = 0, false
		reg.Instance.Address, reg.Instance.Weight = "10.0.0.1:80", 1
		reg.Instance.Tags, reg.Instance.Meta, reg.Instance.Region, reg.Instance.Zone = nil, nil, "", ""
		registered, err := NewRegistrar(client, slog.New(slog.DiscardHandler)).Register(t.Context(), reg)
		if err != nil {
			t.Fatal(err)
		}
		test(t, func() error { return registered.Deregister(context.Background()) })
		client.Close()
	})
}

// pass lets fake time go by.
func pass(d time.Duration) {
	timer := time.NewTimer(d)
	<-timer.C
	synctest.Wait()
}

func TestQuietKeeping(t *testing.T) {
	for _, sloppy := range []bool{false, true} {
		r := &registry{sloppy: sloppy}
		kept(t, r, func(t *testing.T, leave func() error) {
			pass(10 * time.Minute)
			if r.asked < 120 || r.asked > 155 || len(r.puts) != 1 {
				t.Errorf("asked %d times and registered %d times in ten quiet minutes, want about every 5 s and once", r.asked, len(r.puts))
			}
			if err := leave(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestForgettingIsNoticedAtOnce(t *testing.T) {
	r := &registry{}
	kept(t, r, func(t *testing.T, _ func() error) {
		pass(time.Minute + time.Second)
		r.set(func() { r.known = "" })
		synctest.Wait()
		if len(r.puts) != 2 {
			t.Errorf("registered %d times, want again as soon as it was forgotten", len(r.puts))
		}
		// Two that replace each other do so slowly.
		for range 1000 {
			r.set(func() { r.known = "" })
			pass(10 * time.Millisecond)
		}
		if n := len(r.puts) - 2; n < 5 || n > 14 {
			t.Errorf("registered %d times in 10 s against a rival", n)
		}
	})
}

func TestRestartOfTheAgentIsNoticed(t *testing.T) {
	for _, away := range []time.Duration{100 * time.Millisecond, 3 * time.Second, time.Hour} {
		t.Run(fmt.Sprint(away), func(t *testing.T) {
			r := &registry{}
			kept(t, r, func(t *testing.T, _ func() error) {
				pass(time.Minute + 2*time.Second)
				r.set(func() { r.known, r.down = "", true })
				pass(away)
				r.set(func() { r.down = false })
				back := time.Now()
				pass(5 * time.Second)
				if len(r.puts) != 2 || r.puts[1].Sub(back) > time.Second {
					t.Errorf("registered at %v; the agent was back at %v", r.puts, back)
				}
			})
		})
	}
}

func TestDeregistrationIsTriedAgain(t *testing.T) {
	r := &registry{refusals: 3}
	kept(t, r, func(t *testing.T, leave func() error) {
		if err := leave(); err != nil || r.leavings != 4 {
			t.Errorf("after %d tries: %v", r.leavings, err)
		}
		if err := leave(); err != nil || r.leavings != 4 {
			t.Errorf("a second call: %d tries, %v", r.leavings, err)
		}
	})
	r = &registry{refusals: 1000}
	kept(t, r, func(t *testing.T, leave func() error) {
		start := time.Now()
		err := leave()
		if status, ok := errors.AsType[*consul.StatusError](err); !ok || status.Code != http.StatusInternalServerError {
			t.Errorf("got %v", err)
		}
		if took := time.Since(start); took > parting || r.leavings < 5 || r.leavings > 20 {
			t.Errorf("%d tries in %v", r.leavings, took)
		}
	})
}
