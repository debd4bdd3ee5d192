package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/innermesh/innermesh/discovery"
	"github.com/innermesh/innermesh/idempotency"
)

// shop is the services that the orders need.
type shop struct {
	payments *payments
	servers  []func()

	mu    sync.Mutex
	story map[string][]string // what has happened, by order
	fails int
}

func openShop(ctx context.Context, registry *discovery.Memory) (*shop, error) {
	s := &shop{story: map[string][]string{}, fails: 1}
	s.payments = &payments{Server: health.NewServer(), shop: s, seen: map[string]bool{}}
	store, err := idempotency.NewMemory(idempotency.MemoryOptions{})
	if err != nil {
		return nil, err
	}
	guard, err := idempotency.New(idempotency.Options{Store: store})
	if err != nil {
		return nil, err
	}
	stock := &http.Server{ReadHeaderTimeout: time.Second, Handler: guard.Middleware(http.HandlerFunc(s.stock))}
	pay := grpc.NewServer()
	healthpb.RegisterHealthServer(pay, s.payments)
	for name, serve := range map[string]func(net.Listener) error{"stock": stock.Serve, "payments": pay.Serve} {
		l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		go func() { _ = serve(l) }()
		if err := registry.Put(name, discovery.Instance{ID: name + "-1", Address: l.Addr().String()}); err != nil {
			return nil, err
		}
	}
	s.servers = []func(){func() { _ = stock.Close() }, pay.Stop}
	return s, nil
}

func (s *shop) close() {
	for _, end := range s.servers {
		end()
	}
}

// stock is an ordinary handler behind the middleware that answers repeats. It
// fails once, when it is to ship.
func (s *shop) stock(w http.ResponseWriter, r *http.Request) {
	what, id := strings.TrimPrefix(r.URL.Path, "/"), r.URL.Query().Get("order")
	s.mu.Lock()
	defer s.mu.Unlock()
	if what == "ship" && s.fails > 0 {
		s.fails--
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	s.story[id] = append(s.story[id], what)
	w.Header().Set("Shelf", "12b")
}

// about tells what has happened to an order.
func (s *shop) about(id string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.story[id], ", ")
}

// payments borrows the standard health service, so that the example needs no
// generated code of its own. It remembers the keys of what it has charged.
type payments struct {
	*health.Server

	shop *shop
	seen map[string]bool
	hang chan struct{}
}

// Check stands for a payment of "order/card".
func (p *payments) Check(ctx context.Context, r *healthpb.HealthCheckRequest) (*healthpb.HealthCheckResponse, error) {
	id, card, _ := strings.Cut(r.GetService(), "/")
	md, _ := metadata.FromIncomingContext(ctx)
	key := fmt.Sprint(md.Get(idempotency.Metadata))
	p.shop.mu.Lock()
	hang := p.hang
	switch {
	case card == "declined":
		p.shop.mu.Unlock()
		return nil, status.Error(codes.FailedPrecondition, "the card is declined")
	case !p.seen[key]:
		p.seen[key] = true
		p.shop.story[id] = append(p.shop.story[id], "charge")
	}
	p.hang = nil
	p.shop.mu.Unlock()
	if hang != nil { // charged, and the answer is lost
		close(hang)
		<-ctx.Done()
	}
	return &healthpb.HealthCheckResponse{}, nil
}

// hangOnce makes the next payment have no answer, and tells when that is so.
func (p *payments) hangOnce() <-chan struct{} {
	p.shop.mu.Lock()
	defer p.shop.mu.Unlock()
	p.hang = make(chan struct{})
	return p.hang
}
