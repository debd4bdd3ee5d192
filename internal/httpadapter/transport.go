package httpadapter

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/innermesh/innermesh/internal/outbound"
	"github.com/innermesh/innermesh/internal/upstream"
	"github.com/innermesh/innermesh/policy"
)

// ErrOutside is the cause of a request to a host that is not a service of the
// mesh, where those are refused.
var ErrOutside = errors.New("not a service of the mesh: allow names outside in the options, or use another client")

// ErrInsecureBase is the cause of requests that would have to be secured by a
// round tripper that is not ours to configure.
var ErrInsecureBase = errors.New("TLS can not be put under this base: pass nil or an *http.Transport")

// Options are what the adapter needs of the mesh it belongs to.
type Options struct {
	// Directory holds the services.
	Directory *upstream.Directory
	// Base carries what is not for the mesh. An *http.Transport also lends its
	// settings to the connections to instances; any other round tripper is
	// given the attempts to send. Nil means a transport with the settings of net/http's default.
	Base http.RoundTripper
	// TLS returns the configuration for a connection to a target, which is
	// cloned for the protocol. It may wait for it. Nil means plain text.
	TLS func(ctx context.Context, to *policy.Target) (*tls.Config, error)
	// RefuseOutside makes requests to other hosts fail with ErrOutside.
	RefuseOutside bool
}

// Transport is the mesh as an [http.RoundTripper]. It is safe for concurrent use.
type Transport struct {
	o     Options
	base  http.RoundTripper
	conns *conns // nil if the base is to send
}

// New returns a round tripper.
func New(o Options) *Transport {
	t := &Transport{o: o, base: o.Base}
	if t.base == nil {
		t.base = defaultBase()
	}
	if own, ok := t.base.(*http.Transport); ok {
		t.conns = newConns(own, o.TLS)
	}
	return t
}

// RoundTrip sends the request to an instance of the service it names. Requests
// to other hosts go to the base unless they are refused.
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL == nil {
		closeBody(req)
		return nil, errors.New("innermesh: request without a URL")
	}
	service := serviceOf(req.URL)
	switch {
	case service == "" && t.o.RefuseOutside:
		closeBody(req)
		return nil, fmt.Errorf("innermesh: %s: %w", req.URL.Host, ErrOutside)
	case service == "":
		return t.base.RoundTrip(req)
	case t.conns == nil && t.o.TLS != nil:
		closeBody(req)
		return nil, fmt.Errorf("innermesh: %s: %w", service, ErrInsecureBase)
	}
	x := t.describe(req, service)
	res, err := outbound.Do(req.Context(), t.o.Directory, &x.Flight, x)
	x.body.decided(err == nil)
	if err != nil {
		return nil, err
	}
	return x.answer(res), nil
}

// CloseIdleConnections closes the connections that carry nothing, to instances
// and of the base. [http.Client.CloseIdleConnections] calls it.
func (t *Transport) CloseIdleConnections() {
	if t.conns != nil {
		t.conns.closeIdle()
	}
	if c, ok := t.base.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

// Close has no more connections made to instances, and waits until none is being
// made. Those that carry something are closed when they carry nothing more.
func (t *Transport) Close() {
	if t.conns != nil {
		t.conns.end()
	}
	t.CloseIdleConnections()
}

// defaultBase has the timeouts of net/http's default transport, and is our own.
func defaultBase() *http.Transport {
	return &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		ForceAttemptHTTP2:     true,
		MaxIdleConns:          100,
		IdleConnTimeout:       90 * time.Second,
		TLSHandshakeTimeout:   10 * time.Second,
		ExpectContinueTimeout: time.Second,
	}
}

func closeBody(req *http.Request) {
	if req.Body != nil {
		_ = req.Body.Close() // the caller gets the error that matters
	}
}
