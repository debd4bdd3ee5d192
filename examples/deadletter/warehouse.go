package main

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"

	"github.com/innermesh/innermesh/discovery"
)

// silent is for what is told on the page anyway.
var silent = slog.New(slog.DiscardHandler)

// warehouse takes orders, each key once.
type warehouse struct {
	srv *httptest.Server

	mu   sync.Mutex
	keys map[string]bool
	has  []string
}

func openWarehouse(registry *discovery.Memory) (*warehouse, error) {
	w := &warehouse{keys: map[string]bool{}}
	w.srv = httptest.NewServer(w)
	err := registry.Put("warehouse", discovery.Instance{ID: "warehouse-1", Address: w.srv.Listener.Addr().String()})
	if err != nil {
		w.srv.Close()
		return nil, err
	}
	return w, nil
}

func (w *warehouse) close() { w.srv.Close() }

// ServeHTTP implements [http.Handler].
func (w *warehouse) ServeHTTP(res http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	what, key := string(body), req.Header.Get("Idempotency-Key")
	switch {
	case err != nil || key == "":
		http.Error(res, "an order needs a key", http.StatusBadRequest)
		return
	case what == "a dragon":
		http.Error(res, "there are none", http.StatusUnprocessableEntity)
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.keys[key] {
		w.keys[key] = true
		w.has = append(w.has, what)
	}
	res.WriteHeader(http.StatusCreated)
}

func (w *warehouse) tell(out io.Writer) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	slices.Sort(w.has)
	_, err := fmt.Fprintln(out, "The warehouse has orders for", w.has)
	return err
}
