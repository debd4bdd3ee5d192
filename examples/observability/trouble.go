package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"sync"
	"time"

	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/innermesh/innermesh/discovery"
	"github.com/innermesh/innermesh/mesh"
	"github.com/innermesh/innermesh/tlsutil"
)

// instruct writes the policies; who follows the file has them a moment later.
func (s *shop) instruct() error {
	return os.WriteFile(s.policies, fmt.Appendf(nil, policies, time.Now().Add(time.Hour).UTC().Format(time.RFC3339)), 0o600)
}

// disturb makes, every few seconds, what operators want to be told of: a document
// with a mistake, a caller who may not, a stranger, an instance that is gone.
func (s *shop) disturb(ctx context.Context) {
	tick := time.NewTicker(2 * time.Second)
	defer tick.Stop()
	for n := 0; ; n++ {
		switch n % 3 {
		case 0:
			_ = s.registry.Put("payments", discovery.Instance{ID: "payments-3", Address: "127.0.0.1:1"}) // nobody is there
		case 1:
			_ = os.WriteFile(s.policies, []byte(mistaken), 0o600) // what it does is seen on the dashboards
		case 2:
			_ = s.instruct()
		}
		s.rush(ctx)
		s.ask(ctx, s.visitor.HTTPClient(), "http://vault/")
		s.ask(ctx, new(http.Client), "http://"+s.vault) // in plain text
		s.beAStranger(ctx)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		s.registry.Remove("payments", "payments-3")
	}
}

// rush pays many bills at once, some of which must wait and some are kept back.
func (s *shop) rush(ctx context.Context) {
	var wg sync.WaitGroup
	for range 30 {
		wg.Go(func() { _, _ = s.pay.Check(ctx, new(healthpb.HealthCheckRequest)) })
	}
	wg.Wait()
}

func (*shop) ask(ctx context.Context, client *http.Client, url string) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return
	}
	if res, err := client.Do(req); err == nil {
		_ = res.Body.Close()
	}
}

// beAStranger calls with a certificate of another authority.
func (s *shop) beAStranger(ctx context.Context) {
	ca, err := tlsutil.NewDevCA(tlsutil.DevCAOptions{})
	if err != nil {
		return
	}
	m, err := mesh.New(ctx, mesh.Options{
		Service: "stranger", Discovery: s.registry, TLS: mesh.TLSOptions{DevCA: ca}, Logger: silent, Telemetry: s.signals.of("stranger"),
	})
	if err != nil {
		return
	}
	defer m.Close(context.WithoutCancel(ctx))
	s.ask(ctx, m.HTTPClient(), "http://vault/")
}
