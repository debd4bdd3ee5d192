package mesh_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/innermesh/innermesh/call"
	"github.com/innermesh/innermesh/internal/httpadapter"
	"github.com/innermesh/innermesh/mesh"
)

func TestHTTPLeavesTheRequestAlone(t *testing.T) {
	m := newMesh(t, mesh.Options{Discovery: addresses{"web": {web(t, unavailable), web(t, ok)}}})
	for range 20 { // some of them are tried twice
		r := request(t, http.MethodPut, "http://web/a?b=c", strings.NewReader("x"))
		r.Header.Set("X-Own", "1")
		was, body := r.Clone(r.Context()), r.Body
		res, err := m.Transport(nil).RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		if res.Request != r {
			t.Error("Response.Request is not the caller's")
		}
		read(t, res)
		if !reflect.DeepEqual(r.Header, was.Header) || *r.URL != *was.URL || r.Host != was.Host || r.Body != body {
			t.Errorf("request was changed: %v %v, was %v %v", r.URL, r.Header, was.URL, was.Header)
		}
	}
}

func TestHTTPClosesTheBody(t *testing.T) {
	closed := newMesh(t, mesh.Options{Discovery: addresses{"web": {web(t, ok)}}})
	if err := closed.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	m := newMesh(t, mesh.Options{
		Discovery: addresses{"web": {web(t, ok)}, "none": {}, "dead": {deadAddress(t)}},
		HTTP:      mesh.HTTPOptions{RefuseOutside: true},
	})
	for _, c := range []struct {
		name, url string
		m         *mesh.Mesh
		header    string
		fails     bool
	}{
		{name: "success", url: "http://web/", m: m},
		{name: "no instance", url: "http://none/", m: m, fails: true},
		{name: "unknown service", url: "http://nobody/", m: m, fails: true},
		{name: "dead instance", url: "http://dead/", m: m, fails: true},
		{name: "closed mesh", url: "http://web/", m: closed, fails: true},
		{name: "outside refused", url: "http://127.0.0.1:1/", m: m, fails: true},
		{name: "bad header", url: "http://web/", m: m, header: "a\nb", fails: true},
	} {
		for _, rewinds := range []bool{false, true} {
			t.Run(c.name, func(t *testing.T) {
				body := watch("hello")
				r := request(t, http.MethodPost, c.url, body)
				if rewinds {
					r.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("hello")), nil }
				}
				if c.header != "" {
					r.Header["X-Bad"] = []string{c.header}
				}
				res, err := c.m.Transport(nil).RoundTrip(r)
				if (err != nil) != c.fails {
					t.Fatalf("fails: %v, want %v", err, c.fails)
				}
				if err == nil {
					read(t, res)
				}
				select { // it may be closed by another goroutine, a little later
				case <-body.closed:
				case <-r.Context().Done():
					t.Error("the body was not closed")
				}
			})
		}
	}
}

func TestHTTPTraceHooksFire(t *testing.T) {
	m := newMesh(t, mesh.Options{Discovery: addresses{"web": {web(t, ok)}}})
	var got, wrote, first atomic.Int32
	r := request(t, http.MethodGet, "http://web/", nil)
	r = r.WithContext(httptrace.WithClientTrace(r.Context(), &httptrace.ClientTrace{
		GotConn:              func(httptrace.GotConnInfo) { got.Add(1) },
		WroteRequest:         func(httptrace.WroteRequestInfo) { wrote.Add(1) },
		GotFirstResponseByte: func() { first.Add(1) },
	}))
	res, err := m.HTTPClient().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	read(t, res)
	if got.Load() != 1 || wrote.Load() != 1 || first.Load() != 1 {
		t.Errorf("hooks fired %d, %d, %d times, want once each", got.Load(), wrote.Load(), first.Load())
	}
}

func TestHTTPFollowsRedirectsBetweenServices(t *testing.T) {
	to := func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://stock/there", http.StatusFound)
	}
	m := newMesh(t, mesh.Options{Discovery: addresses{
		"web":   {web(t, to)},
		"stock": {web(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.Host+r.URL.Path) })},
	}})
	res, err := page(t, m, "http://web/")
	if err != nil {
		t.Fatal(err)
	}
	if s := read(t, res); s != "stock/there" {
		t.Errorf("arrived at %q", s)
	}
}

func TestHTTPNamesOutside(t *testing.T) {
	addr := web(t, ok)
	res, err := page(t, newMesh(t, mesh.Options{Discovery: addresses{}}), "http://"+addr+"/")
	if err != nil {
		t.Fatal(err)
	}
	read(t, res)
	refusing := newMesh(t, mesh.Options{Discovery: addresses{}, HTTP: mesh.HTTPOptions{RefuseOutside: true}})
	if _, err := page(t, refusing, "http://"+addr+"/"); !errors.Is(err, httpadapter.ErrOutside) {
		t.Errorf("got %v, want ErrOutside", err)
	}
}

// idler is a base that counts how often it is told to close idle connections.
type idler struct {
	instant
	closes int
}

func (i *idler) CloseIdleConnections() { i.closes++ }

func TestHTTPForwardsCloseIdleConnections(t *testing.T) {
	base := new(idler)
	c := &http.Client{Transport: newMesh(t, mesh.Options{Discovery: addresses{}}).Transport(base)}
	c.CloseIdleConnections()
	if base.closes != 1 {
		t.Errorf("base was told %d times, want once", base.closes)
	}
}

func TestHTTPEndsWithTheCallersTime(t *testing.T) {
	held := make(chan struct{})
	arrived := make(chan struct{}, 3)
	m := newMesh(t, mesh.Options{Discovery: addresses{"web": {web(t, func(_ http.ResponseWriter, r *http.Request) {
		arrived <- struct{}{}
		select {
		case <-held:
		case <-r.Context().Done():
		}
	})}}})
	defer close(held)
	t.Run("client timeout", func(t *testing.T) {
		c := m.HTTPClient()
		c.Timeout = 50 * time.Millisecond
		ends(t, c, request(t, http.MethodGet, "http://web/", nil), context.DeadlineExceeded)
		<-arrived
	})
	t.Run("deadline", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		ends(t, m.HTTPClient(), request(t, http.MethodGet, "http://web/", nil).WithContext(ctx), context.DeadlineExceeded)
		<-arrived
	})
	t.Run("cancel", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go func() { <-arrived; cancel() }()
		ends(t, m.HTTPClient(), request(t, http.MethodGet, "http://web/", nil).WithContext(ctx), context.Canceled)
	})
}

// ends sends r and wants want, long before the policy's time is over.
func ends(t *testing.T, c *http.Client, r *http.Request, want error) {
	t.Helper()
	began := time.Now()
	_, err := c.Do(r)
	if !errors.Is(err, want) {
		t.Errorf("got %v, want %v", err, want)
	}
	// A client's own timeout replaces the error with one of its own.
	if _, ok := errors.AsType[*call.Error](err); !ok && c.Timeout == 0 {
		t.Errorf("%v is no *call.Error", err)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("took %v", took)
	}
}
