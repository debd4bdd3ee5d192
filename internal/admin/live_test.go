package admin

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// listen opens an event stream.
func listen(t *testing.T, base, query string) (*http.Response, func() string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/live?"+query, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req) //nolint:forbidigo // its idle connections are closed with the test's server
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	lines := bufio.NewReader(resp.Body)
	return resp, func() string {
		event, err := lines.ReadString('\n')
		if err != nil {
			return "end"
		}
		data, err := lines.ReadString('\n')
		_, _ = lines.ReadString('\n')
		if err != nil {
			return "end"
		}
		return strings.TrimSpace(strings.TrimPrefix(event, "event: ")) + " " + strings.TrimSpace(strings.TrimPrefix(data, "data: "))
	}
}

// A listener hears of changes and of nothing else, and the end of the page is the
// end of its listeners.
func TestLive(t *testing.T) {
	var inflight atomic.Int64
	p := some(t, func(o *Options) {
		o.Every = 5 * time.Millisecond
		o.Summaries = func() []Summary {
			return []Summary{{Service: "orders", Census: Census{Inflight: int(inflight.Load())}}}
		}
	})
	server := httptest.NewServer(p)
	t.Cleanup(server.Close)
	resp, next := listen(t, server.URL, "view=overview")
	if kind := resp.Header.Get("Content-Type"); resp.StatusCode != http.StatusOK || kind != "text/event-stream" {
		t.Fatalf("%s, %s", resp.Status, kind)
	}
	await := func(event, text string) {
		t.Helper()
		for range 2000 {
			got := next()
			if got == "end" {
				break
			}
			if strings.HasPrefix(got, event) && strings.Contains(got, text) {
				return
			}
		}
		t.Fatalf("no %s with %q came", event, text)
	}
	await("hello", "")
	await("page", "orders")
	await("same", "")
	inflight.Store(7321)
	await("page", "7321")
	closed := make(chan struct{})
	go func() { defer close(closed); p.Close() }()
	await("bye", "closed")
	<-closed
	if resp, _ := listen(t, server.URL, "view=overview"); resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("a closed page takes listeners: %s", resp.Status)
	}
}

// There are only so many listeners, and a place is free again when one goes.
func TestListenersAreBounded(t *testing.T) {
	p := some(t, func(o *Options) { o.Listeners, o.Every = 2, 5*time.Millisecond })
	server := httptest.NewServer(p)
	t.Cleanup(server.Close)
	first, _ := listen(t, server.URL, "view=events")
	_, _ = listen(t, server.URL, "view=events")
	third, _ := listen(t, server.URL, "view=events")
	if body, err := io.ReadAll(third.Body); err != nil || third.StatusCode != http.StatusServiceUnavailable || len(body) == 0 {
		t.Fatalf("a third of two is told %s, %v", third.Status, err)
	}
	_ = first.Body.Close()
	for range 1000 {
		resp, next := listen(t, server.URL, "view=events")
		if resp.StatusCode == http.StatusOK {
			return
		}
		_ = next()
	}
	t.Error("the place of one who has gone is not free again")
}

// What is not refreshed, or does not exist, can not be followed.
func TestLiveRefuses(t *testing.T) {
	p := some(t, nil)
	for _, q := range []string{"view=explain", "view=none", ""} {
		if w := ask(p, http.MethodGet, "/live?"+q, nil, ""); w.Code != http.StatusNotFound {
			t.Errorf("%q: %d", q, w.Code)
		}
	}
}
