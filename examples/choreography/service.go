package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"path/filepath"
	"sync"
	"time"

	"github.com/innermesh/innermesh/deadletter"
	"github.com/innermesh/innermesh/deadletter/bolt"
	"github.com/innermesh/innermesh/discovery"
	"github.com/innermesh/innermesh/idempotency"
	"github.com/innermesh/innermesh/mesh"
)

// event is what services tell each other.
type event struct {
	Type  string `json:"type"`
	Order string `json:"order"`
	Item  string `json:"item"`
	Card  string `json:"card"`
}

// listens says who hears of which events.
var listens = map[string][]string{
	"order.placed":     {"stock"},
	"stock.reserved":   {"payments"},
	"payment.taken":    {"orders"},
	"payment.declined": {"stock"},
	"stock.released":   {"orders"},
}

// service reacts to events, each one once, and tells its own.
type service struct {
	name  string
	react func(event) (next string, err error)
	// losesAnswer has the answer to the first event lost, after it was carried
	// out.
	losesAnswer bool

	mesh   *mesh.Mesh
	sink   *bolt.Sink
	outbox *deadletter.Outbox
	server *http.Server
}

// open starts the service and makes it known.
func (s *service) open(ctx context.Context, dir string, registry *discovery.Memory) (err error) {
	if s.mesh, err = mesh.New(ctx, mesh.Options{Service: s.name, Discovery: registry, Logger: silent}); err != nil {
		return err
	}
	if s.sink, err = bolt.Open(filepath.Join(dir, s.name), bolt.Options{}); err != nil {
		return err
	}
	s.outbox, err = deadletter.NewOutbox(deadletter.OutboxOptions{
		Sink: s.sink, Sender: deadletter.HTTPSender{Client: s.mesh.HTTPClient()}, Logger: silent,
		Backoff: deadletter.Backoff{Base: 10 * time.Millisecond}, Pause: 10 * time.Millisecond, Poll: 20 * time.Millisecond,
	})
	if err != nil {
		return err
	}
	store, err := idempotency.NewMemory(idempotency.MemoryOptions{})
	if err != nil {
		return err
	}
	guard, err := s.mesh.IdempotencyGuard(idempotency.Options{Store: store})
	if err != nil {
		return err
	}
	handler := guard.Middleware(s)
	if s.losesAnswer {
		handler = loseFirst(handler)
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	s.server = &http.Server{ReadHeaderTimeout: time.Second, Handler: handler}
	go func() { _ = s.server.Serve(l) }()
	return registry.Put(s.name, discovery.Instance{ID: s.name + "-1", Address: l.Addr().String()})
}

// close ends the service; what it has yet to tell stays in its file.
func (s *service) close(ctx context.Context) {
	if s.server != nil { // else it never opened
		_ = errors.Join(s.server.Close(), s.outbox.Close(ctx), s.sink.Close(), s.mesh.Close(ctx))
	}
}

// ServeHTTP takes an event. It is done with when what follows from it is durable:
// if this process dies before, the event comes again, and its key makes the same
// letters of it.
func (s *service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var e event
	if err := json.NewDecoder(r.Body).Decode(&e); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	next, err := s.react(e)
	if err == nil && next != "" {
		e.Type = next
		err = s.tell(r.Context(), idempotency.KeyFrom(r.Context()), e)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
	}
}

// tell keeps an event in the outbox, for each who listens. cause is what makes the
// keys: the same cause tells the same event once.
func (s *service) tell(ctx context.Context, cause string, e event) error {
	body, err := json.Marshal(e)
	if err != nil {
		return err
	}
	for _, to := range listens[e.Type] {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+to+"/events", bytes.NewReader(body))
		if err != nil {
			return err
		}
		req.Header.Set(idempotency.Header, idempotency.FormatKey(idempotency.Derive(cause, e.Type+" to "+to)))
		if _, err := s.outbox.EnqueueRequest(ctx, req); err != nil {
			return err
		}
	}
	return nil
}

// loseFirst breaks the connection instead of answering the first request.
func loseFirst(next http.Handler) http.Handler {
	var first sync.Once
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		lost := false
		first.Do(func() { lost = true })
		if !lost {
			next.ServeHTTP(w, r)
			return
		}
		next.ServeHTTP(nowhere{}, r)
		if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
			_ = conn.Close()
		}
	})
}

// nowhere is where a lost answer goes.
type nowhere struct{}

func (nowhere) Header() http.Header         { return http.Header{} }
func (nowhere) Write(b []byte) (int, error) { return len(b), nil }
func (nowhere) WriteHeader(int)             {}
