package idempotency_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/innermesh/innermesh/call"
	"github.com/innermesh/innermesh/idempotency"
)

func ExampleGuard_Middleware() {
	store, err := idempotency.NewMemory(idempotency.MemoryOptions{})
	if err != nil {
		log.Fatal(err)
	}
	guard, err := idempotency.New(idempotency.Options{Store: store})
	if err != nil {
		log.Fatal(err)
	}
	orders := 0
	handler := guard.Middleware(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		orders++
		w.WriteHeader(http.StatusCreated)
		fmt.Fprintf(w, "order %d", orders)
	}))

	key := idempotency.FormatKey(idempotency.NewKey())
	for _, item := range []string{"pen", "pen", "book"} {
		r := httptest.NewRequest(http.MethodPost, "/orders", strings.NewReader(item))
		r.Header.Set(idempotency.Header, key)
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		body, _ := io.ReadAll(w.Body)
		fmt.Printf("%s: %d, replayed: %q, %.7s\n", item, w.Code, w.Header().Get(idempotency.ReplayedHeader), body)
	}
	// Output:
	// pen: 201, replayed: "", order 1
	// pen: 201, replayed: "true", order 1
	// book: 422, replayed: "", {"type"
}

// Anything that has requests and answers can be guarded, such as a queue that
// delivers a message more than once.
func ExampleGuard_Enter() {
	store, err := idempotency.NewMemory(idempotency.MemoryOptions{})
	if err != nil {
		log.Fatal(err)
	}
	guard, err := idempotency.New(idempotency.Options{Store: store})
	if err != nil {
		log.Fatal(err)
	}
	receive := func(ctx context.Context, id, message string) error {
		turn, err := guard.Enter(ctx, idempotency.Request{
			Protocol: call.HTTP, // whose statuses the outcomes have
			Route:    "billing", Key: id, Fingerprint: idempotency.NewHash(message).Sum(),
		})
		if err != nil {
			return err
		}
		defer turn.Abandon() // if something goes wrong, it is free again
		if turn.Replay() != nil {
			fmt.Println("seen before:", message)
			return nil
		}
		fmt.Println("billed:", message)
		return turn.Complete(idempotency.Outcome{Status: http.StatusOK})
	}
	for range 2 {
		if err := receive(context.Background(), "message-1", "pen"); err != nil {
			log.Fatal(err)
		}
	}
	// Output:
	// billed: pen
	// seen before: pen
}

func ExampleDerive() {
	key := "order-42" // of the operation that is being carried out, see KeyFrom
	fmt.Println(idempotency.Derive(key, "charge"))
	fmt.Println(idempotency.Derive(key, "ship"))
	// Output:
	// 4AWXZGNQUJZQUI6OR6GT3QECHIVKJE4R
	// CXOMOIX75DXGZLYOGIVBWQO2NY7N6J4Y
}
