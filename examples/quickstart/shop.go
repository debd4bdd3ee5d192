package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/innermesh/innermesh/discovery"
	"github.com/innermesh/innermesh/tlsutil"
)

// shop is the services that checkout calls.
type shop struct {
	registry *discovery.Memory
	servers  []func() // each kills one instance
	killOne  func()
}

// trouble is what an instance suffers from.
type trouble struct {
	delay    time.Duration
	failures float64
}

// happen lets the trouble happen to one request.
func (t trouble) happen(ctx context.Context) (failed bool) {
	select {
	case <-time.After(t.delay + time.Duration(rand.Int64N(int64(2*time.Millisecond)))):
	case <-ctx.Done():
	}
	return rand.Float64() < t.failures
}

// openShop starts three instances of each service and registers them.
func openShop(ctx context.Context, ca *tlsutil.DevCA, registry *discovery.Memory) (*shop, error) {
	s := &shop{registry: registry}
	troubles := []trouble{{}, {delay: 60 * time.Millisecond}, {failures: 0.1}}
	for _, service := range []struct {
		name  string
		serve func(net.Listener, *tls.Config, trouble) (kill func())
	}{{"inventory", serveInventory}, {"payments", servePayments}} {
		source, err := ca.Source(service.name)
		if err != nil {
			return nil, err
		}
		config := tlsutil.ServerConfig(source, tlsutil.AuthorizeService("checkout"), tlsutil.Options{})
		for i, t := range troubles {
			l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
			if err != nil {
				return nil, err
			}
			kill := service.serve(l, config, t)
			s.servers = append(s.servers, kill)
			id := fmt.Sprintf("%s-%d", service.name, i+1)
			if err := registry.Put(service.name, discovery.Instance{ID: id, Address: l.Addr().String()}); err != nil {
				return nil, err
			}
			if i == 0 {
				s.killOne = both(s.killOne, s.kill(service.name, id, kill))
			}
		}
	}
	return s, nil
}

// kill ends an instance without a word. The registry notices a second later.
func (s *shop) kill(service, id string, kill func()) func() {
	return func() {
		kill()
		time.AfterFunc(time.Second, func() { s.registry.Remove(service, id) })
	}
}

func both(a, b func()) func() {
	if a == nil {
		return b
	}
	return func() { a(); b() }
}

func (s *shop) close() {
	for _, kill := range s.servers {
		kill()
	}
}

// serveInventory is an ordinary HTTP server.
func serveInventory(l net.Listener, config *tls.Config, t trouble) (kill func()) {
	server := &http.Server{
		ReadHeaderTimeout: time.Second,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if t.happen(r.Context()) {
				w.WriteHeader(http.StatusServiceUnavailable)
				return
			}
			fmt.Fprintf(w, "%s: 3 left\n", r.URL.Path)
		}),
	}
	go func() { _ = server.Serve(tls.NewListener(l, config)) }()
	return func() { _ = server.Close() }
}

// servePayments is an ordinary gRPC server.
func servePayments(l net.Listener, config *tls.Config, t trouble) (kill func()) {
	server := grpc.NewServer(grpc.Creds(credentials.NewTLS(config)))
	healthpb.RegisterHealthServer(server, &payments{trouble: t, Server: health.NewServer()})
	go func() { _ = server.Serve(l) }()
	return server.Stop
}

// payments borrows the standard health service, so that the example needs no
// generated code of its own.
type payments struct {
	*health.Server
	trouble trouble
}

// Check stands for a payment.
func (p *payments) Check(ctx context.Context, r *healthpb.HealthCheckRequest) (*healthpb.HealthCheckResponse, error) {
	if p.trouble.happen(ctx) {
		return nil, status.Error(codes.Unavailable, "out of order")
	}
	return p.Server.Check(ctx, r)
}
