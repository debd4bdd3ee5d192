package parity_test

import (
	"cmp"
	"fmt"
	"net/http"
	"net/url"

	"github.com/innermesh/innermesh/internal/httpadapter"
	"github.com/innermesh/innermesh/internal/parity"
	"github.com/innermesh/innermesh/internal/route"
)

// request is r as a program would send it to a service.
func request(service string, r parity.Request) (*http.Request, error) {
	u, err := url.Parse("http://" + service + cmp.Or(r.Path, "/"))
	if err != nil {
		return nil, fmt.Errorf("request %s: %w", r, err)
	}
	return &http.Request{Method: r.Method, URL: u, Host: r.Host, Header: r.Header}, nil
}

// facts is what routes may ask of it, as the adapter for HTTP answers.
func facts(req *http.Request) route.Request {
	_, r := httpadapter.Describe(req)
	return r
}
