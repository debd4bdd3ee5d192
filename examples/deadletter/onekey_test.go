package main

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/innermesh/innermesh/call"
	"github.com/innermesh/innermesh/deadletter"
	"github.com/innermesh/innermesh/discovery"
	"github.com/innermesh/innermesh/mesh"
)

// Over a real mesh: a POST is tried more than once because it has a key, is kept
// when all attempts are spent, and is redriven with the very same key.
func TestOneKey(t *testing.T) {
	var mu sync.Mutex
	var keys []string
	var open atomic.Bool
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		keys = append(keys, r.Header.Get("Idempotency-Key"))
		if !open.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	registry := new(discovery.Memory)
	for _, id := range []string{"orders-1", "orders-2", "orders-3"} {
		srv := httptest.NewServer(h)
		defer srv.Close()
		if err := registry.Put("orders", discovery.Instance{ID: id, Address: srv.Listener.Addr().String()}); err != nil {
			t.Fatal(err)
		}
	}
	m, err := mesh.New(t.Context(), mesh.Options{Service: "checkout", Discovery: registry, Logger: silent})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close(context.WithoutCancel(t.Context()))
	sink := new(deadletter.Memory)
	recorder, err := deadletter.NewRecorder(deadletter.RecorderOptions{Sink: sink, All: true})
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: recorder.Transport(m.Transport(nil))}

	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://orders/42", strings.NewReader("body"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = client.Do(req)
	kept, ok := errors.AsType[*deadletter.KeptError](err)
	if !ok {
		t.Fatalf("got %v", err)
	}
	if e, ok := errors.AsType[*call.Error](err); !ok || e.Reason != call.Unavailable || e.Sent != call.Answered {
		t.Errorf("got %v", err)
	}
	tries := len(keys)
	if tries < 2 {
		t.Errorf("tried %d times: a POST with a key may be tried again", tries)
	}
	open.Store(true)
	r, err := deadletter.NewRedriver(deadletter.RedriverOptions{Sink: sink, Sender: deadletter.HTTPSender{Client: m.HTTPClient()}, Logger: silent})
	if err != nil {
		t.Fatal(err)
	}
	report, err := r.Redrive(t.Context(), deadletter.Filter{IDs: []string{kept.ID}})
	if err != nil || report != (deadletter.Report{Delivered: 1}) {
		t.Errorf("redrive: %+v, %v", report, err)
	}
	if _, err := deadletter.Get(t.Context(), sink, kept.ID); !errors.Is(err, deadletter.ErrNotFound) {
		t.Errorf("the letter is still there: %v", err)
	}
	if all := slices.Compact(slices.Clone(keys)); len(all) != 1 || all[0] == "" || len(keys) != tries+1 {
		t.Errorf("keys: %q", keys)
	}
}
