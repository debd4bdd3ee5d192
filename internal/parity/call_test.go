package parity_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/innermesh/innermesh/discovery"
	"github.com/innermesh/innermesh/internal/httpadapter"
	"github.com/innermesh/innermesh/internal/parity"
	"github.com/innermesh/innermesh/limit"
)

// Call implements [parity.Subject], through the adapter for HTTP.
func (s *subject) Call(r parity.Request) (parity.Seen, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	req, err := request(s.upstream.Service, r)
	if err != nil {
		return parity.Seen{}, err
	}
	instance := &instance{answer: r.Answer}
	transport := httpadapter.New(httpadapter.Options{Directory: s.directory, Base: instance, RefuseOutside: true})
	res, err := transport.RoundTrip(req.WithContext(ctx))
	full := new(limit.FullError)
	switch {
	case errors.Is(err, discovery.ErrNoHealthyInstance), errors.Is(err, discovery.ErrNoInstances),
		errors.Is(err, discovery.ErrUnknownService), errors.As(err, &full):
		return parity.Seen{Refused: true}, nil
	case err != nil:
		return parity.Seen{}, err
	}
	instance.seen.Answer = res.Header
	return instance.seen, res.Body.Close()
}

// instance answers any request and keeps what it has seen of it.
type instance struct {
	answer http.Header
	seen   parity.Seen
}

// RoundTrip implements [http.RoundTripper].
func (i *instance) RoundTrip(r *http.Request) (*http.Response, error) {
	i.seen = parity.Seen{Address: r.URL.Host, Path: r.URL.RequestURI(), Header: r.Header}
	return &http.Response{StatusCode: http.StatusOK, Header: i.answer.Clone(), Body: http.NoBody, Request: r}, nil
}

// caller is a puppet whose calls are seen otherwise.
type caller struct {
	puppet

	seen func(*parity.Seen)
}

func (c caller) Call(r parity.Request) (parity.Seen, error) {
	seen, err := c.puppet.Call(r)
	c.seen(&seen)
	return seen, err
}

func TestCalls(t *testing.T) {
	t.Parallel()
	u := plan()
	u.Routes[0].Legs = []parity.Leg{{Target: "a", Weight: 10000}}
	u.Routes[0].Request.Set = map[string]string{"x": "1"}
	u.Routes[0].Response.Remove = []string{"y"}
	u.Clusters["a"].Levels[0].Endpoints = []parity.Endpoint{{Address: "a1", Weight: 1, Healthy: true}, {Address: "a2", Weight: 1}}
	for want, seen := range map[string]func(*parity.Seen){
		"": func(*parity.Seen) {},
		"the instance saw the path /other, want /x": func(s *parity.Seen) { s.Path = "/other" },
		`"a2" fits no leg`:                          func(s *parity.Seen) { s.Address = "a2" },
		"refused: true, want false":                 func(s *parity.Seen) { s.Refused = true },
		"header of the request":                     func(s *parity.Seen) { s.Header = http.Header{"X": {"2"}} },
		"header of the response":                    func(s *parity.Seen) { s.Answer = http.Header{"Y": {"one"}} },
	} {
		t.Run(want, func(t *testing.T) {
			t.Parallel()
			c := caller{puppet{plan: u}, seen}
			// Where calls are drawn is another test's.
			c.puppet.place = parity.Drawn{Leg: "a", Level: "level", Address: "a1"}
			err := parity.Comparison{Requests: []parity.Request{{Path: "/x"}}}.Run(u, c)
			if text := fmt.Sprint(err); err == nil != (want == "") || !strings.Contains(text, want) {
				t.Errorf("got %v, want an error with %q", err, want)
			}
		})
	}
}
