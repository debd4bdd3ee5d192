package mesh_test

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/innermesh/innermesh/call"
	"github.com/innermesh/innermesh/mesh"
	"github.com/innermesh/innermesh/policy"
)

// turns makes the first attempt of a mesh's calls go to each instance in turn.
func turns(retry policy.Retry) policy.Service {
	return policy.Service{Balancer: policy.Balancer{Policy: policy.RoundRobin}, Retry: retry}
}

// busyFirst refuses the first request that comes to any instance, after it has
// read it, and echoes the others.
func busyFirst(n *atomic.Int32) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		if n.Add(1) == 1 {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		_, _ = w.Write(b)
	}
}

func TestHTTPReplaysBodies(t *testing.T) {
	const text = "hello, once more"
	for _, c := range []struct {
		name   string
		body   func() io.Reader
		status int
	}{
		{"GetBody", func() io.Reader { return strings.NewReader(text) }, http.StatusOK},
		{"kept", func() io.Reader { return watch(text) }, http.StatusOK},
		{"pipe", func() io.Reader {
			r, w := io.Pipe()
			go func() { _, _ = io.WriteString(w, text); _ = w.Close() }()
			return r
		}, http.StatusOK},
		{"longer than is kept", func() io.Reader { return watch(text + strings.Repeat(".", 64)) }, http.StatusServiceUnavailable},
	} {
		t.Run(c.name, func(t *testing.T) {
			var n atomic.Int32
			m := newMesh(t, mesh.Options{
				Discovery: addresses{"web": {web(t, busyFirst(&n)), web(t, busyFirst(&n))}},
				Defaults:  turns(policy.Retry{ReplayBytes: 64}),
			})
			res, err := m.HTTPClient().Do(request(t, http.MethodPut, "http://web/", c.body()))
			if err != nil {
				t.Fatal(err)
			}
			answer := read(t, res)
			if res.StatusCode != c.status || c.status == http.StatusOK && answer != text {
				t.Errorf("got %d %q, want %d", res.StatusCode, answer, c.status)
			}
			want := int32(2)
			if c.status != http.StatusOK {
				want = 1
			}
			if n.Load() != want {
				t.Errorf("%d attempts, want %d", n.Load(), want)
			}
		})
	}
}

func TestHTTPRepeatsOnlyWhatIsSafe(t *testing.T) {
	for _, c := range []struct {
		name, method, key string
		tries             int32
	}{
		{"POST", http.MethodPost, "", 1},
		{"POST with a key", http.MethodPost, "k1", 2},
		{"GET", http.MethodGet, "", 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			var n atomic.Int32
			h := counted(&n, hangUp)
			m := newMesh(t, mesh.Options{
				Discovery: addresses{"web": {web(t, h), web(t, h)}}, Defaults: turns(policy.Retry{Attempts: 2}),
			})
			r := request(t, c.method, "http://web/", strings.NewReader("x"))
			if c.key != "" {
				r.Header.Set("Idempotency-Key", c.key)
			}
			_, err := m.HTTPClient().Do(r)
			e, ok := errors.AsType[*call.Error](err)
			if !ok {
				t.Fatalf("got %v, want a *call.Error", err)
			}
			if e.Sent != call.SentUnknown || n.Load() != c.tries || e.Attempts != int(c.tries) {
				t.Errorf("%v: %d requests arrived, want %d", e, n.Load(), c.tries)
			}
		})
	}
}

// closes is a base that counts the bodies of 503s that are open.
type closes struct {
	http.RoundTripper
	open, seen atomic.Int32
}

func (c *closes) RoundTrip(r *http.Request) (*http.Response, error) {
	res, err := c.RoundTripper.RoundTrip(r)
	if err == nil && res.StatusCode == http.StatusServiceUnavailable {
		c.open.Add(1)
		c.seen.Add(1)
		res.Body = &closing{res.Body, sync.OnceFunc(func() { c.open.Add(-1) })}
	}
	return res, err
}

type closing struct {
	io.ReadCloser
	done func()
}

func (c *closing) Close() error { c.done(); return c.ReadCloser.Close() }

func TestHTTPBusyInstanceIsReplaced(t *testing.T) {
	own := &http.Transport{}
	t.Cleanup(own.CloseIdleConnections)
	base := &closes{RoundTripper: own}
	m := newMesh(t, mesh.Options{Discovery: addresses{"web": {web(t, unavailable), web(t, ok)}}, Defaults: turns(policy.Retry{})})
	c := &http.Client{Transport: m.Transport(base)}
	for range 4 {
		res, err := c.Do(request(t, http.MethodGet, "http://web/", nil))
		if err != nil {
			t.Fatal(err)
		}
		if s := read(t, res); s != "ok" {
			t.Errorf("got %d %q", res.StatusCode, s)
		}
	}
	if base.seen.Load() == 0 || base.open.Load() != 0 {
		t.Errorf("%d of %d bodies nobody saw are open", base.open.Load(), base.seen.Load())
	}
}

func TestHTTPLastAnswerComesOutAsItIs(t *testing.T) {
	var n atomic.Int32
	h := counted(&n, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Why", "full")
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = io.WriteString(w, "come back")
	})
	m := newMesh(t, mesh.Options{Discovery: addresses{"web": {web(t, h), web(t, h)}}})
	res, err := page(t, m, "http://web/")
	if err != nil {
		t.Fatal(err)
	}
	if s := read(t, res); res.StatusCode != http.StatusServiceUnavailable || s != "come back" || res.Header.Get("X-Why") != "full" {
		t.Errorf("got %d %q %v", res.StatusCode, s, res.Header)
	}
	if n.Load() < 2 {
		t.Errorf("%d attempts, want at least one on each instance", n.Load())
	}
}

func TestHTTPGivesBackWhatItTook(t *testing.T) {
	m := newMesh(t, mesh.Options{Discovery: addresses{
		"web": {web(t, ok), web(t, unavailable), deadAddress(t), web(t, hangUp)}, "none": {},
	}})
	c := m.HTTPClient()
	var callers sync.WaitGroup
	var answers, faults atomic.Int32
	for k := range 4 {
		callers.Go(func() {
			for n := range 50 {
				method, url := http.MethodGet, "http://web/"
				if n%3 == 1 {
					method = http.MethodPost
				}
				if n%7 == 6 {
					url = "http://none/"
				}
				res, err := c.Do(request(t, method, url, watch("x")))
				if err != nil {
					faults.Add(1)
					continue
				}
				answers.Add(1)
				if (n+k)%2 == 0 {
					_, _ = io.Copy(io.Discard, res.Body)
				}
				_ = res.Body.Close()
			}
		})
	}
	callers.Wait()
	if answers.Load() == 0 || faults.Load() == 0 {
		t.Errorf("%d answers and %d faults are no mixture", answers.Load(), faults.Load())
	}
	if n := inflight(m); n != 0 {
		t.Errorf("%d attempts are still under way", n)
	}
}
