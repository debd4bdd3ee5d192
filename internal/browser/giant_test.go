package browser

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/innermesh/innermesh/discovery"
	"github.com/innermesh/innermesh/mesh"
)

// How large a mesh the page is made for, and how soon it must be there.
const (
	manyServices  = 1000
	manyInstances = 100
	soon          = 2 * time.Second
)

// instant answers at once.
type instant struct{}

func (instant) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody, Header: http.Header{}, Request: r, ProtoMajor: 1, ProtoMinor: 1}, nil
}

// A thousand upstreams of a hundred instances: the page is there soon, follows,
// filters and sorts.
func TestGiant(t *testing.T) {
	chromium(t)
	known := discovery.Static{}
	for i := range manyServices {
		service := fmt.Sprintf("service-%04d", i)
		for k := range manyInstances {
			known[service] = append(known[service], fmt.Sprintf("10.%d.%d.%d:80", i/250, i%250, k))
		}
	}
	m, err := mesh.New(t.Context(), mesh.Options{
		Service: "giant", Discovery: known, Admin: mesh.AdminOptions{Addr: "127.0.0.1:0"}, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close(context.Background()) })
	client := &http.Client{Transport: m.Transport(instant{})}
	for service := range known {
		for range 5 {
			resp, err := client.Get("http://" + service + "/")
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
		}
	}
	x := open(t, "http://"+m.AdminAddr()+"/")
	x.size(1600, 900)
	x.visit("explain") // the browser itself is warm
	for path, rows := range map[string]int{"": manyServices, "upstream?service=service-0500": manyInstances} {
		took, got := time.Hour, 0
		for range 3 { // others use the machine as well
			began := time.Now()
			x.visit(path)
			got = eval[int](x, `document.querySelectorAll("table[data-sortable] tbody tr").length`)
			took = min(took, time.Since(began))
		}
		t.Logf("%q: %d rows in %v", path, got, took.Round(time.Millisecond))
		if got != rows {
			t.Errorf("%q has %d rows, want %d", path, got, rows)
		}
		if took > soon {
			t.Errorf("%q took %v, want %v at most", path, took, soon)
		}
	}
	x.visit("")
	x.wait(`document.getElementById("main").dataset.frames >= 1`)
	quick := func(what string, action chromedp.Action) {
		t.Helper()
		began := time.Now()
		x.do(action, chromedp.Evaluate(`new Promise(f => requestAnimationFrame(() => setTimeout(f)))`, nil))
		t.Logf("%s: %v", what, time.Since(began).Round(time.Millisecond))
		if took := time.Since(began); took > soon {
			t.Errorf("%s took %v, want %v at most", what, took, soon)
		}
	}
	quick("sort", chromedp.Evaluate(`document.querySelector("#upstreams th button").click()`, nil))
	quick("filter", chromedp.SendKeys("#find", "service-07"))
	if got := len(x.rows("upstreams")); got != 100 {
		t.Errorf("%d rows fit, want 100", got)
	}
}
