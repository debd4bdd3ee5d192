package browser

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/innermesh/innermesh/discovery"
	"github.com/innermesh/innermesh/mesh"
	"github.com/innermesh/innermesh/policy"
	"github.com/innermesh/innermesh/tlsutil"
)

// shop is a checkout in the midst of its day: calls to several services, some of
// which are in trouble.
type shop struct {
	*mesh.Mesh
	t      *testing.T
	base   string
	broken atomic.Bool // one copy of the inventory
}

// openShop starts it, under steady load.
func openShop(t *testing.T, admin mesh.AdminOptions) *shop {
	t.Helper()
	s := &shop{t: t}
	ca, err := tlsutil.NewDevCA(tlsutil.DevCAOptions{})
	if err != nil {
		t.Fatal(err)
	}
	backend := func(service string, slow time.Duration, failing func() bool) string {
		server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			wait := time.NewTimer(slow/2 + rand.N(slow))
			defer wait.Stop()
			select {
			case <-wait.C:
			case <-r.Context().Done():
			}
			if failing() {
				w.WriteHeader(http.StatusServiceUnavailable)
			}
		}))
		server.Listener = tls.NewListener(server.Listener, tlsutil.ServerConfig(identity(t, ca, service), tlsutil.AuthorizeAny(), tlsutil.Options{}))
		server.Start()
		t.Cleanup(server.Close)
		return strings.TrimPrefix(server.URL, "http://")
	}
	never := func() bool { return false }
	sometimes := func(part float64) func() bool { return func() bool { return rand.Float64() < part } }
	s.broken.Store(true)
	known := map[string][]discovery.Instance{}
	add := func(service, zone string, meta map[string]string, health discovery.Health, slow time.Duration, failing func() bool) {
		known[service] = append(known[service], discovery.Instance{
			ID: fmt.Sprintf("%s-%d", service, len(known[service])+1), Address: backend(service, slow, failing), Region: "eu-west", Zone: zone, Meta: meta, Health: health,
		})
	}
	for i, zone := range []string{"a", "a", "a", "b"} {
		failing := never
		if i == 1 {
			failing = s.broken.Load
		}
		add("inventory", zone, nil, discovery.Passing, 6*time.Millisecond, failing)
	}
	add("inventory", "a", nil, discovery.Critical, time.Millisecond, never)
	for i := range 3 {
		version := map[string]string{"version": []string{"v1", "v1", "v2"}[i]}
		add("payments", "a", version, discovery.Passing, 25*time.Millisecond, sometimes(0.02))
	}
	for range 2 {
		add("pricing", "a", nil, discovery.Passing, 3*time.Millisecond, never)
		add("recommendations", "a", nil, discovery.Passing, 40*time.Millisecond, sometimes(0.45))
		add("sessions", "b", nil, discovery.Passing, 2*time.Millisecond, never)
		add("shipping", "a", nil, discovery.Passing, 60*time.Millisecond, sometimes(0.01))
	}
	add("ledger", "a", nil, discovery.Passing, 8*time.Millisecond, never)

	registry := new(discovery.Memory)
	for service, instances := range known {
		if err := registry.Set(service, instances...); err != nil {
			t.Fatal(err)
		}
	}
	s.Mesh, err = mesh.New(t.Context(), mesh.Options{
		Service: "checkout", Discovery: registry, TLS: mesh.TLSOptions{Source: identity(t, ca, "checkout")}, Region: "eu-west", Zone: "a", Admin: admin,
		Logger: slog.New(slog.DiscardHandler),
		Pinned: map[string]policy.Service{"payments": paymentsPolicy()},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close(context.Background()) })
	s.base = "http://" + s.AdminAddr() + "/"
	s.load(t)
	return s
}

// paymentsPolicy sends a tenth of the calls to the new version.
func paymentsPolicy() policy.Service {
	return policy.Service{
		Subsets: map[string]policy.Subset{"v1": {Filter: "Service.Meta.version == v1"}, "v2": {Filter: "Service.Meta.version == v2"}},
		Routes: []policy.Route{{Name: "canary", To: []policy.Leg{
			{Weight: 90, Target: policy.Target{Subset: "v1"}}, {Weight: 10, Target: policy.Target{Subset: "v2"}},
		}}},
	}
}

func identity(t *testing.T, ca *tlsutil.DevCA, service string) tlsutil.Source {
	t.Helper()
	source, err := ca.Source(service)
	if err != nil {
		t.Fatal(err)
	}
	return source
}

// load calls the services until the test ends.
func (s *shop) load(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var callers sync.WaitGroup
	t.Cleanup(func() { cancel(); callers.Wait() })
	client := s.HTTPClient()
	for service, pause := range map[string]time.Duration{
		"inventory": 12 * time.Millisecond, "payments": 30 * time.Millisecond, "pricing": 8 * time.Millisecond,
		"recommendations": 60 * time.Millisecond, "sessions": 5 * time.Millisecond, "shipping": 90 * time.Millisecond,
		"ledger": time.Hour, "loyalty": time.Second,
	} {
		callers.Go(func() {
			began := time.Now()
			for {
				req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+service+"/things", nil)
				if err != nil {
					t.Error(err)
					return
				}
				if resp, err := client.Do(req); err == nil {
					_ = resp.Body.Close()
				} else if errors.Is(err, context.Canceled) {
					return
				}
				wave := 1 + 0.5*float64(time.Since(began).Seconds()/7-float64(int(time.Since(began).Seconds()/7)))
				timer := time.NewTimer(time.Duration(float64(pause) * wave))
				select {
				case <-timer.C:
				case <-ctx.Done():
					timer.Stop()
					return
				}
			}
		})
	}
}
