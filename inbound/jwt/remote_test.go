package jwt

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/hashicorp/consul/api"

	"github.com/innermesh/innermesh/internal/consul"
	"github.com/innermesh/innermesh/internal/consultest"
)

// site serves a key set without a network, so that time can be virtual.
type site struct {
	mu       sync.Mutex
	document []byte // nil: it is down
	status   int
	asked    int
}

func (s *site) RoundTrip(req *http.Request) (*http.Response, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked++
	if s.document == nil {
		return nil, errors.New("connection refused")
	}
	return &http.Response{StatusCode: s.status, Body: io.NopCloser(bytes.NewReader(s.document)), Request: req}, nil
}

func (s *site) serve(status int, document []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status, s.document = status, document
}

func (s *site) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked
}

func TestRemoteKeys(t *testing.T) {
	one, two, never := newIssuer(t, jose.EdDSA, "k1"), newIssuer(t, jose.EdDSA, "k2"), newIssuer(t, jose.EdDSA, "k3")
	first, both := public(t, one), public(t, one, two)
	synctest.Test(t, func(t *testing.T) {
		s := &site{}
		var log bytes.Buffer
		r, err := newRemote("idp", Remote{URI: "https://idp/keys?key=hidden", CacheDuration: time.Minute}, slog.New(slog.NewTextHandler(&log, nil)))
		if err != nil {
			t.Fatal(err)
		}
		r.client.Transport = s
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { r.run(ctx) })
		p := &provider{Provider: Provider{Issuer: "https://idp"}, keys: r}
		verify := func(i *issuer) error {
			_, err := p.verify(t.Context(), i.token(t, nil), time.Now())
			return err
		}
		synctest.Wait()
		if err := verify(one); !errors.Is(err, ErrNoKeys) {
			t.Errorf("while it is down: %v", err)
		}
		s.serve(http.StatusOK, first)
		time.Sleep(2 * time.Second)
		if err := verify(one); err != nil {
			t.Errorf("when it is up: %v", err)
		}
		n := s.count()
		for range 50 { // strangers name keys
			if err := verify(never); !errors.Is(err, ErrSignature) {
				t.Error(err)
			}
		}
		if s.count() > n+1 {
			t.Errorf("%d fetches for 50 bad tokens", s.count()-n)
		}
		s.serve(http.StatusOK, both)
		time.Sleep(seldom)
		if err := verify(two); err != nil {
			t.Errorf("a new key is not fetched when it is needed: %v", err)
		}
		s.serve(http.StatusOK, first)
		time.Sleep(time.Minute)
		if err := verify(two); !errors.Is(err, ErrSignature) {
			t.Errorf("a key that was withdrawn: %v", err)
		}
		for _, status := range []int{http.StatusFound, http.StatusNotFound} {
			s.serve(status, both)
			time.Sleep(2 * time.Minute)
			if verify(two) == nil || verify(one) != nil {
				t.Error("keys from an answer with status", status)
			}
		}
		s.serve(http.StatusOK, bytes.Repeat([]byte(" "), maxDocument+1))
		time.Sleep(2 * time.Minute)
		if err := verify(one); err != nil {
			t.Errorf("keys that were good are lost: %v", err)
		}
		s.serve(http.StatusOK, nil)
		time.Sleep(staleAfter + time.Minute)
		if err := verify(one); !errors.Is(err, ErrNoKeys) {
			t.Errorf("old keys are believed for ever: %v", err)
		}
		cancel()
		running.Wait()
		if strings.Contains(log.String(), "hidden") || strings.Count(log.String(), "level=ERROR") != 2 {
			t.Errorf("logged:\n%v", &log)
		}
	})
}

// A request waits for keys no longer than it lives.
func TestRemoteWaiting(t *testing.T) {
	i := newIssuer(t, jose.EdDSA, "k1")
	synctest.Test(t, func(t *testing.T) {
		r, err := newRemote("idp", Remote{URI: "https://idp/keys"}, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		p := &provider{Provider: Provider{Issuer: "https://idp"}, keys: r}
		if _, err := p.verify(ctx, i.token(t, nil), time.Now()); !errors.Is(err, ErrNoKeys) || !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
	})
}

// Entries of a real Consul, with keys from a real server of https, whose CA
// stands in the entry.
func TestConsulIsFollowed(t *testing.T) {
	agent := consultest.Start(t, consultest.Options{}) // an entry counts for everybody
	client, err := agent.Client()
	if err != nil {
		t.Fatal(err)
	}
	i := newIssuer(t, jose.ES256, "k1")
	var asked atomic.Int64
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		_, _ = w.Write(public(t, i))
	}))
	defer server.Close()
	watcher, err := consul.New(consul.Options{Address: agent.HTTPAddr, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer watcher.Close()
	p := New(slog.New(slog.DiscardHandler))
	defer p.Close()
	ctx, cancel := context.WithCancel(t.Context())
	news, done := make(chan int, 100), make(chan error, 1)
	go func() {
		done <- p.Follow(ctx, watcher, func([]byte, error) { news <- len(p.Names()) })
	}()
	await := func(n int) {
		t.Helper()
		for {
			select {
			case got := <-news:
				if got == n {
					return
				}
			case <-time.After(20 * time.Second):
				t.Fatalf("not in time: %d providers", n)
			}
		}
	}
	await(0)
	write := func(e *api.JWTProviderConfigEntry) {
		t.Helper()
		e.Kind, e.Issuer = api.JWTProvider, "https://idp"
		if _, _, err := client.ConfigEntries().Set(e, nil); err != nil {
			t.Fatal(err)
		}
	}
	write(&api.JWTProviderConfigEntry{Name: "near", JSONWebKeySet: &api.JSONWebKeySet{
		Local: &api.LocalJWKS{JWKS: base64.StdEncoding.EncodeToString(public(t, i))},
	}})
	await(1)
	trusted := &api.JWKSTLSCertificate{TrustedCA: &api.JWKSTLSCertTrustedCA{InlineString: certificate(server)}}
	write(&api.JWTProviderConfigEntry{Name: "far", JSONWebKeySet: &api.JSONWebKeySet{
		Remote: &api.RemoteJWKS{URI: server.URL, JWKSCluster: &api.JWKSCluster{DiscoveryType: "STRICT_DNS", TLSCertificates: trusted}},
	}})
	await(2)
	for _, name := range []string{"near", "far"} {
		if _, err := p.Of(t.Context(), bearer(i.token(t, nil)), "").Claims(name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if asked.Load() != 1 {
		t.Errorf("%d fetches", asked.Load())
	}
	if _, err := client.ConfigEntries().Delete(api.JWTProvider, "near", nil); err != nil {
		t.Fatal(err)
	}
	await(1)
	if _, err := p.Of(t.Context(), bearer(i.token(t, nil)), "").Claims("near"); !errors.Is(err, ErrUnknownProvider) {
		t.Error(err)
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
