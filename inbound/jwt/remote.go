package jwt

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"sync"
	"time"
)

const (
	// maxDocument bounds a key set, in bytes.
	maxDocument = 1 << 20
	// seldom is how often unknown keys may have a set fetched: strangers name keys.
	seldom = 10 * time.Second
	// staleAfter is for how long keys are used at least that can not be fetched
	// anew, so that an issuer may be away for a while. See also stale.
	staleAfter = time.Hour
)

// remote are keys that are fetched again and again, from one goroutine.
type remote struct {
	Remote
	name   string
	log    *slog.Logger
	client *http.Client

	mu      sync.Mutex
	keys    keys
	fetched time.Time     // when keys were
	tried   time.Time     // when the last try began
	err     error         // how it ended
	done    chan struct{} // closed when the try that is to come has ended
	hurry   chan struct{} // holds one: a try is wanted
}

func newRemote(name string, r Remote, log *slog.Logger) (*remote, error) {
	r.CacheDuration = max(cmp.Or(r.CacheDuration, 5*time.Minute), seldom)
	transport := &http.Transport{
		Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true, MaxResponseHeaderBytes: 64 << 10, IdleConnTimeout: time.Minute,
	}
	if c := r.JWKSCluster; c != nil {
		if c.ConnectTimeout > 0 {
			transport.DialContext = (&net.Dialer{Timeout: c.ConnectTimeout}).DialContext
		}
		pool, err := c.pool()
		if err != nil {
			return nil, fmt.Errorf("JSONWebKeySet.Remote.JWKSCluster.TLSCertificates: %w", err)
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	return &remote{
		Remote: r, name: name, log: log, done: make(chan struct{}), hurry: make(chan struct{}, 1),
		client: &http.Client{
			Transport: transport,
			// Who moves the keys elsewhere says so in the config entry.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}, nil
}

// pool are the CAs that may vouch for the server, nil for the system's.
func (c *Cluster) pool() (*x509.CertPool, error) {
	if c.TLSCertificates == nil || c.TLSCertificates.TrustedCA == nil {
		return nil, nil //nolint:nilnil // it stands for the system's
	}
	ca := c.TLSCertificates.TrustedCA
	pem := []byte(ca.InlineString)
	switch {
	case ca.Filename != "":
		var err error
		if pem, err = os.ReadFile(ca.Filename); err != nil {
			return nil, err
		}
	case ca.EnvironmentVariable != "":
		pem = []byte(os.Getenv(ca.EnvironmentVariable))
	case len(ca.InlineBytes) > 0:
		pem = ca.InlineBytes
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, errors.New("TrustedCA has no certificate")
	}
	return pool, nil
}

// run fetches until ctx ends.
func (r *remote) run(ctx context.Context) {
	defer r.client.CloseIdleConnections()
	failures := 0
	for {
		found, err := r.fetch(ctx)
		if ctx.Err() != nil {
			return
		}
		wait := r.CacheDuration
		if err != nil {
			wait = r.backoff(failures)
			failures++
		} else {
			failures = 0
		}
		r.put(found, err)
		timer := time.NewTimer(time.Duration(float64(wait) * (0.9 + 0.1*rand.Float64())))
		select {
		case <-timer.C:
		case <-r.hurry:
		case <-ctx.Done():
		}
		if timer.Stop(); ctx.Err() != nil {
			return
		}
	}
}

// put tells how a try ended, and logs a change.
func (r *remote) put(found keys, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case err != nil && r.err == nil:
		r.log.Error("keys for JSON web tokens can not be fetched", "provider", r.name, "error", err, "known", r.keys != nil)
	case err == nil && r.err != nil:
		r.log.Info("keys for JSON web tokens are fetched again", "provider", r.name)
	}
	if r.err = err; err == nil {
		r.keys, r.fetched = found, time.Now()
	}
	close(r.done)
	r.done = make(chan struct{})
}

func (r *remote) backoff(failures int) time.Duration {
	base, most := time.Second, 10*time.Second
	if p := r.RetryPolicy; p != nil && p.RetryPolicyBackOff != nil {
		base = cmp.Or(max(p.RetryPolicyBackOff.BaseInterval, 0), base)
		most = max(cmp.Or(p.RetryPolicyBackOff.MaxInterval, 10*base), base)
	}
	return min(base<<min(failures, 20), most, r.CacheDuration)
}

func (r *remote) fetch(ctx context.Context) (keys, error) {
	r.mu.Lock()
	r.tried = time.Now()
	r.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, time.Duration(cmp.Or(r.RequestTimeoutMs, 5000))*time.Millisecond)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.URI, nil)
	if err != nil {
		return nil, errors.New("the address is malformed")
	}
	req.Header.Set("Accept", "application/jwk-set+json, application/json")
	resp, err := r.client.Do(req)
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		err = wrapped.Err // the rest repeats the address, with its query
	}
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close() // it was read, or is of no use
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the answer is %s", resp.Status)
	}
	document, err := io.ReadAll(io.LimitReader(resp.Body, maxDocument+1))
	switch {
	case err != nil:
		return nil, err
	case len(document) > maxDocument:
		return nil, fmt.Errorf("the key set is larger than %d bytes", maxDocument)
	}
	return parseKeys(document)
}

// current waits for the first try.
func (r *remote) current(ctx context.Context) (keys, error) {
	for {
		known, done, err := r.now()
		switch {
		case known != nil:
			return known, nil
		case err != nil:
			return nil, fmt.Errorf("%w: %w", ErrNoKeys, err)
		}
		select {
		case <-done:
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: %w", ErrNoKeys, context.Cause(ctx))
		}
	}
}

func (r *remote) now() (known keys, done <-chan struct{}, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.keys != nil && r.err != nil && time.Since(r.fetched) > r.stale() {
		return nil, r.done, fmt.Errorf("those of %s are too old: %w", r.fetched.UTC().Format(time.RFC3339), r.err)
	}
	return r.keys, r.done, r.err
}

// stale is how old keys may get when they can not be fetched.
func (r *remote) stale() time.Duration { return max(10*r.CacheDuration, staleAfter) }

// newer waits for another set than the known one, if there can be one now.
func (r *remote) newer(ctx context.Context, known keys) (keys, error) {
	r.mu.Lock()
	now, done := r.keys, r.done
	if len(now) > 0 && &now[0] != &known[0] {
		r.mu.Unlock()
		return now, nil
	}
	soon := time.Since(r.tried) < seldom
	r.mu.Unlock()
	if soon {
		return nil, nil
	}
	select {
	case r.hurry <- struct{}{}:
	default:
	}
	select {
	case <-done:
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: %w", ErrNoKeys, context.Cause(ctx))
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if &r.keys[0] == &known[0] {
		return nil, nil
	}
	return r.keys, nil
}

// local are keys that stay.
type local struct {
	keys keys
	err  error
}

func (l local) current(context.Context) (keys, error) { return l.keys, l.err }

func (l local) newer(context.Context, keys) (keys, error) { return nil, nil }
