package mesh_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/innermesh/innermesh/deadletter"
	"github.com/innermesh/innermesh/mesh"
	"github.com/innermesh/innermesh/policy"
)

// looked is what a page of the mesh shows, as JSON.
func looked[T any](t *testing.T, m *mesh.Mesh, path string) (v T) {
	t.Helper()
	w := httptest.NewRecorder()
	m.AdminHandler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/api/"+path, nil))
	if w.Code != http.StatusOK {
		t.Fatalf("%s: %d %s", path, w.Code, w.Body)
	}
	if err := json.Unmarshal(w.Body.Bytes(), &v); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return v
}

// stage answers at once, as the addresses say: "bad" with 503.
type stage struct{}

func (stage) RoundTrip(r *http.Request) (*http.Response, error) {
	status := http.StatusOK
	if strings.HasPrefix(r.URL.Host, "bad") {
		status = http.StatusServiceUnavailable
	}
	return &http.Response{StatusCode: status, Body: http.NoBody, Header: http.Header{}, Request: r, ProtoMajor: 1, ProtoMinor: 1}, nil
}

type seenUpstream struct {
	Service string `json:"service"`
	State   string `json:"state"`
	Error   string `json:"error"`
	Figures struct {
		Rate, Errors, P99 float64
		Known             bool
	} `json:"figures"`
	Retries uint64 `json:"retries"`
	History []struct{ Rate float64 }
	Targets []struct {
		Name      string
		Instances []seenInstance
		Limits    []struct {
			Kind string
			Most float64
		}
		Terms []struct{ Path, Value, Origin string }
	} `json:"targets"`
	Routes []struct {
		Name   string
		Budget struct{ Left, Ratio float64 }
	} `json:"routes"`
	Events []struct{ Kind, Text string }
}

type seenInstance struct {
	ID, State, Why, Tone string
	Share                float64
	Attempts, Failures   uint64
	Breaker              struct {
		State            string
		Judged, Failures int
		Probe            time.Time
	}
	Out bool
}

// The page tells of a service that one of three instances of fails: rates, errors,
// who is out and why, what was tried again, what pays for it.
func TestAdminTellsWhy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMesh(t, mesh.Options{
			Discovery: addresses{"web": {"good1:80", "good2:80", "bad:80"}},
			Admin:     mesh.AdminOptions{Actions: true},
			Defaults: policy.Service{
				Breaker:  policy.Breaker{Failures: 2},
				Balancer: policy.Balancer{Policy: policy.RoundRobin},
				Limits:   policy.Limits{Concurrency: policy.Limit(77)},
			},
		})
		handler := m.AdminHandler()
		client := &http.Client{Transport: m.Transport(stage{})}
		call := func() {
			resp, err := client.Get("http://web/")
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
		}
		for range 100 {
			call()
			time.Sleep(100 * time.Millisecond)
		}
		u := looked[seenUpstream](t, m, "upstream?service=web")
		if r := u.Figures.Rate; r < 9 || r > 11 || !u.Figures.Known || u.Figures.Errors != 0 || len(u.History) < 3 {
			t.Errorf("10 calls a second, all of them answered, are shown as %+v with %d points", u.Figures, len(u.History))
		}
		if u.Retries == 0 || len(u.Events) == 0 || u.Events[0].Kind != "retried" {
			t.Errorf("%d retries, events %+v", u.Retries, u.Events)
		}
		if len(u.Targets) != 1 || len(u.Targets[0].Instances) != 3 {
			t.Fatalf("targets: %+v", u.Targets)
		}
		bad := u.Targets[0].Instances[0]
		if bad.ID != "bad:80" || bad.State != "breaker open" && bad.State != "ejected" || bad.Why == "" || bad.Tone != "bad" || !bad.Out || bad.Failures == 0 {
			t.Errorf("who fails is shown as %+v", bad)
		}
		shares := 0.0
		for _, i := range u.Targets[0].Instances {
			shares += i.Share
		}
		if shares < 0.999 || shares > 1.001 {
			t.Errorf("shares sum up to %v", shares)
		}
		if l := u.Targets[0].Limits; len(l) != 1 || l[0].Most != 77 {
			t.Errorf("limits: %+v", l)
		}
		if len(u.Routes) != 1 || u.Routes[0].Budget.Left <= 0 || u.Routes[0].Budget.Ratio != 0.2 {
			t.Errorf("routes: %+v", u.Routes)
		}
		o := looked[struct {
			Attention []struct{ Service, Text string }
			Upstreams []seenUpstream
		}](t, m, "overview")
		if len(o.Upstreams) != 1 || len(o.Attention) != 1 || o.Attention[0].Service != "web" || !strings.Contains(o.Attention[0].Text, "out of rotation") {
			t.Errorf("overview: %+v", o)
		}

		form := strings.NewReader(url.Values{"service": {"web"}, "instance": {"bad:80"}}.Encode())
		r := httptest.NewRequest(http.MethodPost, "/forgive", form)
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		if w.Code != http.StatusSeeOther {
			t.Fatalf("to put it back: %d %s", w.Code, w.Body)
		}
		if i := looked[seenUpstream](t, m, "upstream?service=web").Targets[0].Instances[0]; i.State != "serving" || i.Out || i.Breaker.State != "closed" {
			t.Errorf("after it was put back: %+v", i)
		}
	})
}

// Failures that the caller gets, and where there is nobody to call.
func TestAdminTellsOfFailures(t *testing.T) {
	m := newMesh(t, mesh.Options{Discovery: addresses{"web": {"bad:80"}}})
	m.AdminHandler()
	client := &http.Client{Transport: m.Transport(stage{})}
	for _, u := range []string{"http://web/secret-path?token=hush", "http://nobody/"} {
		if resp, err := client.Get(u); err == nil {
			_ = resp.Body.Close()
		}
	}
	w := httptest.NewRecorder()
	m.AdminHandler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/api/events", nil))
	events := w.Body.String()
	if !strings.Contains(events, `"failed"`) || !strings.Contains(events, "nobody") {
		t.Errorf("events: %s", events)
	}
	if strings.Contains(events, "hush") || strings.Contains(events, "secret-path") {
		t.Errorf("events have what was asked: %s", events)
	}
	if u := looked[seenUpstream](t, m, "upstream?service=nobody"); u.Error == "" || u.State != "nobody to call" {
		t.Errorf("nobody: %+v", u)
	}
}

// The own listener is of the loopback, answers to no other name, and is gone with
// the mesh.
func TestAdminListener(t *testing.T) {
	m := newMesh(t, mesh.Options{Discovery: addresses{}, Admin: mesh.AdminOptions{Addr: "127.0.0.1:0", Hosts: []string{"mesh.local"}}})
	ask := func(host string) int {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+m.AdminAddr()+"/", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = host
		transport := &http.Transport{DisableKeepAlives: true}
		resp, err := transport.RoundTrip(req)
		if err != nil {
			return 0
		}
		defer resp.Body.Close()
		if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			t.Error(err)
		}
		return resp.StatusCode
	}
	for host, want := range map[string]int{
		"": 200, "localhost:1": 200, "LOCALHOST": 200, "[::1]:9292": 200, "127.0.0.9": 200, "mesh.local:9292": 200,
		"evil.example": 421, "evil.example:9292": 421, "localhost.evil.example": 421, "10.1.2.3": 421, "127.0.0.1.nip.io": 421,
	} {
		if got := ask(host); got != want {
			t.Errorf("asked as %q it answers %d, want %d", host, got, want)
		}
	}
	if err := m.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	if got := ask(""); got != 0 {
		t.Errorf("after the mesh was closed it answers %d", got)
	}
}

func TestAdminOptions(t *testing.T) {
	for _, c := range []struct {
		field string
		o     mesh.AdminOptions
	}{
		{"", mesh.AdminOptions{Addr: "127.0.0.1:0"}},
		{"", mesh.AdminOptions{Addr: "localhost:9292"}},
		{"", mesh.AdminOptions{Addr: "[::1]:0", Prometheus: "https://user:hush@prom.example/sub"}},
		{"", mesh.AdminOptions{Addr: ":9292", Remote: true}},
		{"Admin.Addr", mesh.AdminOptions{Addr: ":9292"}},
		{"Admin.Addr", mesh.AdminOptions{Addr: "0.0.0.0:9292"}},
		{"Admin.Addr", mesh.AdminOptions{Addr: "localhost.evil.example:1"}},
		{"Admin.Addr", mesh.AdminOptions{Addr: "127.0.0.1"}},
		{"Admin.Prometheus", mesh.AdminOptions{Prometheus: "user:hush@prom"}},
		{"Admin.Prometheus", mesh.AdminOptions{Prometheus: "file:///hush"}},
	} {
		err := mesh.Options{Service: "checkout", Discovery: addresses{}, Admin: c.o}.Validate()
		e, _ := errors.AsType[*mesh.OptionError](err)
		switch {
		case (c.field == "") != (err == nil) || e != nil && e.Field != c.field:
			t.Errorf("%v: %v, want a fault in %q", c.o, err, c.field)
		case err != nil && strings.Contains(err.Error(), "hush"):
			t.Errorf("the error has the password: %v", err)
		}
	}
}

// What was logged is on the page, whoever logs it or nobody; what the logger is
// given is as before.
func TestAdminJournal(t *testing.T) {
	var log strings.Builder
	m, err := mesh.New(t.Context(), mesh.Options{
		Service: "checkout", Discovery: addresses{"web": {"bad:80"}},
		Logger:   slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelError})),
		Defaults: policy.Service{Breaker: policy.Breaker{Failures: 1}, Balancer: policy.Balancer{PanicPercent: -1}},
	})
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: m.Transport(stage{})}
	for range 3 {
		if resp, err := client.Get("http://web/"); err == nil {
			_ = resp.Body.Close()
		}
	}
	got := looked[struct {
		Events []struct{ Kind, Service, Text, Detail string }
	}](t, m, "events")
	found := false
	for _, e := range got.Events {
		found = found || e.Kind == "warning" && e.Service == "web" && e.Text == "circuit opened" && strings.Contains(e.Detail, "instance: bad:80")
	}
	if !found {
		t.Errorf("no circuit was opened, says the page: %+v", got.Events)
	}
	if err := m.Close(context.Background()); err != nil || strings.Contains(log.String(), "circuit") {
		t.Errorf("the logger has heard what it did not want: %s, %v", log.String(), err)
	}
}

// heap is a sink with so many letters.
type heap int

func (n heap) List(_ context.Context, q deadletter.Query) (p deadletter.Page, err error) {
	if q.Cursor == "broken" {
		return p, errors.New("the disk is gone")
	}
	for range min(int(n), q.Limit) {
		p.Letters = append(p.Letters, deadletter.Letter{Service: "mail", State: deadletter.Parked, Error: "no such user", Body: []byte("hush"), Created: time.Now()})
	}
	if int(n) > q.Limit {
		p.Next = "more"
	}
	return p, nil
}

func TestAdminShowsLetters(t *testing.T) {
	m := newMesh(t, mesh.Options{Discovery: addresses{}})
	m.ShowLetters(heap(3))
	type work struct {
		Letters []struct {
			Service, State, Reason string
			Count                  int
			AtLeast                bool
		}
	}
	got := looked[work](t, m, "work").Letters
	if len(got) != 1 || got[0].Count != 3 || got[0].Service != "mail" || got[0].State != "parked" || got[0].Reason != "no such user" || got[0].AtLeast {
		t.Errorf("letters: %+v", got)
	}
	m.ShowLetters(heap(100_000))
	if got = looked[work](t, m, "work").Letters; len(got) != 2 || !got[1].AtLeast || got[1].Count != 1000 {
		t.Errorf("many letters: %+v", got)
	}
}

// What Explain says, the page says.
func TestAdminExplains(t *testing.T) {
	m := newMesh(t, mesh.Options{Discovery: addresses{"web": {"good1:80"}}})
	type answer struct {
		Problem     string
		Explanation struct {
			Path string
			Legs []struct {
				Targets []struct{ Instances []struct{ ID, Out string } }
			}
		}
	}
	got := looked[answer](t, m, "explain?method=GET&url="+url.QueryEscape("http://web/items?x=1"))
	if got.Explanation.Path != "/items" || got.Explanation.Legs[0].Targets[0].Instances[0].ID != "good1:80" {
		t.Errorf("got %+v", got)
	}
	for _, bad := range []string{"http://outside.example.com/", "::", "http://UPPER case/"} {
		if got := looked[answer](t, m, "explain?url="+url.QueryEscape(bad)); got.Problem == "" {
			t.Errorf("%q is explained: %+v", bad, got)
		}
	}
}

// What the identity is, and never its key.
func TestAdminShowsIdentity(t *testing.T) {
	ca := devCA(t)
	m := newMesh(t, mesh.Options{Discovery: addresses{}, TLS: mesh.TLSOptions{Source: identity(t, ca, "checkout")}})
	got := looked[struct {
		Secured     bool
		Tone        string
		Certificate struct{ ID string }
		Roots       []struct{ Name string }
	}](t, m, "security")
	if !got.Secured || got.Tone != "ok" || !strings.HasSuffix(got.Certificate.ID, "/svc/checkout") || len(got.Roots) != 1 {
		t.Errorf("got %+v", got)
	}
}
