package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/innermesh/innermesh/call"
	"github.com/innermesh/innermesh/discovery"
	"github.com/innermesh/innermesh/idempotency"
	"github.com/innermesh/innermesh/mesh"
	"github.com/innermesh/innermesh/tlsutil"
)

// shop is five programs in one: visitors call checkout, which calls stock over
// HTTP and payments over gRPC; vault lets nobody in.
type shop struct {
	registry *discovery.Memory
	ca       *tlsutil.DevCA
	signals  *exporters
	policies string // the file

	visitor, checkout *mesh.Mesh
	pay               healthpb.HealthClient
	vault             string // where it listens
	closers           []func(context.Context) error
}

// silent is for what the dashboards tell.
var silent = slog.New(slog.DiscardHandler)

// open starts everything.
func (s *shop) open(ctx context.Context) (err error) {
	if s.visitor, err = s.mesh(ctx, "visitor", mesh.ServerOptions{}); err != nil {
		return err
	}
	if s.checkout, err = s.mesh(ctx, "checkout", mesh.ServerOptions{}); err != nil {
		return err
	}
	stock, err := s.mesh(ctx, "stock", mesh.ServerOptions{})
	if err != nil {
		return err
	}
	payments, err := s.mesh(ctx, "payments", mesh.ServerOptions{})
	if err != nil {
		return err
	}
	// Its intentions are in a Consul that is not there, so that nobody may call.
	vault, err := s.mesh(ctx, "vault", mesh.ServerOptions{Access: mesh.AccessOptions{Mode: mesh.AccessEnforce}})
	if err != nil {
		return err
	}
	store, err := idempotency.NewMemory(idempotency.MemoryOptions{})
	if err != nil {
		return err
	}
	guard, err := stock.IdempotencyGuard(idempotency.Options{Store: store})
	if err != nil {
		return err
	}
	conn, err := s.checkout.GRPCClient("payments")
	if err != nil {
		return err
	}
	s.pay = healthpb.NewHealthClient(conn)
	s.onClose(func(context.Context) error { return conn.Close() })
	for i, t := range []trouble{{}, {failures: 0.3}, {delay: 40 * time.Millisecond}} {
		version := []string{"old", "old", "next"}[i]
		if err := s.serve(ctx, stock, "stock", i, version, guard.Middleware(t.shelves())); err != nil {
			return err
		}
	}
	for i := range 2 {
		if err := s.serveGRPC(ctx, payments, i, &till{trouble: trouble{failures: 0.05}, Server: health.NewServer()}); err != nil {
			return err
		}
	}
	return errors.Join(
		s.serve(ctx, s.checkout, "checkout", 0, "", http.HandlerFunc(s.buy)),
		s.serve(ctx, vault, "vault", 0, "", http.NotFoundHandler()),
	)
}

// mesh makes the mesh of one program.
func (s *shop) mesh(ctx context.Context, service string, server mesh.ServerOptions) (*mesh.Mesh, error) {
	m, err := mesh.New(ctx, mesh.Options{
		Service: service, Discovery: s.registry, PolicyFile: s.policies, TLS: mesh.TLSOptions{DevCA: s.ca, Mode: mesh.TLSPermissive},
		Telemetry: s.signals.of(service), Server: server, Logger: silent,
	})
	if err == nil {
		s.onClose(m.Close)
	}
	return m, err
}

func (s *shop) onClose(f func(context.Context) error) { s.closers = append(s.closers, f) }

// close ends everything, last opened first.
func (s *shop) close(ctx context.Context) (err error) {
	for i := range s.closers {
		err = errors.Join(err, s.closers[len(s.closers)-1-i](ctx))
	}
	return err
}

// serve starts an instance of a service over HTTP.
func (s *shop) serve(ctx context.Context, m *mesh.Mesh, service string, n int, version string, h http.Handler) error {
	l, err := m.Listen(ctx, "127.0.0.1:0")
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.Handle("/items/{item}", h)
	mux.Handle("/", h)
	server := &http.Server{ReadHeaderTimeout: time.Second, Handler: m.Middleware(mux)}
	go func() { _ = server.Serve(l) }()
	s.onClose(func(context.Context) error { return server.Close() })
	if service == "vault" {
		s.vault = l.Addr().String()
	}
	i := discovery.Instance{ID: fmt.Sprintf("%s-%d", service, n+1), Address: l.Addr().String(), Meta: map[string]string{"version": version}}
	return s.registry.Put(service, i)
}

// serveGRPC starts an instance of payments. Its listener is that of a server that
// secures its connections by itself.
func (s *shop) serveGRPC(ctx context.Context, m *mesh.Mesh, n int, t *till) error {
	l, err := m.Listen(ctx, "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := grpc.NewServer(m.GRPCServerOptions()...)
	healthpb.RegisterHealthServer(server, t)
	go func() { _ = server.Serve(l) }()
	s.onClose(func(context.Context) error { server.Stop(); return nil })
	return s.registry.Put("payments", discovery.Instance{ID: fmt.Sprintf("payments-%d", n+1), Address: l.Addr().String()})
}

// buy is what checkout does for a visitor.
func (s *shop) buy(w http.ResponseWriter, r *http.Request) {
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		ctx := call.With(r.Context(), call.Options{Keyed: method == http.MethodPost})
		req, err := http.NewRequestWithContext(ctx, method, "http://stock/items/lamp", strings.NewReader("one"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		res, err := s.checkout.HTTPClient().Do(req)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		_, _ = io.Copy(io.Discard, res.Body) // the connection is for others
		_ = res.Body.Close()
	}
	if _, err := s.pay.Check(r.Context(), new(healthpb.HealthCheckRequest)); err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
	}
}

// trouble is what an instance suffers from.
type trouble struct {
	delay    time.Duration
	failures float64
}

// happen lets the trouble happen to one call.
func (t trouble) happen(ctx context.Context) (failed bool) {
	select {
	case <-time.After(t.delay + rand.N(4*time.Millisecond)):
	case <-ctx.Done():
	}
	return rand.Float64() < t.failures
}

func (t trouble) shelves() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if t.happen(r.Context()) {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
}

// till borrows the standard health service, so that the example needs no
// generated code of its own.
type till struct {
	*health.Server

	trouble trouble
}

// Check stands for a payment.
func (t *till) Check(ctx context.Context, _ *healthpb.HealthCheckRequest) (*healthpb.HealthCheckResponse, error) {
	if t.trouble.happen(ctx) {
		return nil, status.Error(codes.Unavailable, "the line is busy")
	}
	return &healthpb.HealthCheckResponse{}, nil
}
