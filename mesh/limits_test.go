package mesh_test

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"

	"github.com/innermesh/innermesh/discovery"
	"github.com/innermesh/innermesh/limit"
	"github.com/innermesh/innermesh/mesh"
	"github.com/innermesh/innermesh/policy"
)

func limitedTo(t *testing.T, source discovery.Static, l policy.Limits) *mesh.Mesh {
	t.Helper()
	return newMesh(t, mesh.Options{Discovery: source, Defaults: policy.Service{Limits: l}})
}

// What is too much is refused before anything is sent; when others have ended,
// calls are let in again.
func TestLimitsRefuse(t *testing.T) {
	entered, leave := make(chan struct{}), make(chan struct{})
	m := limitedTo(t, discovery.Static{"web": {web(t, func(http.ResponseWriter, *http.Request) { entered <- struct{}{}; <-leave })}},
		policy.Limits{Concurrency: 1})
	ended := make(chan error)
	go func() {
		res, err := page(t, m, "http://web/")
		if err == nil {
			err = res.Body.Close()
		}
		ended <- err
	}()
	<-entered
	_, err := page(t, m, "http://web/")
	if full, is := errors.AsType[*limit.FullError](err); !is || full.Limit != 1 {
		t.Errorf("the second call: %v", err)
	}
	close(leave)
	if err := <-ended; err != nil {
		t.Error(err)
	}
	go func() { <-entered }()
	res, err := page(t, m, "http://web/")
	if err != nil {
		t.Fatal(err)
	}
	read(t, res)
	none := limitedTo(t, discovery.Static{"web": {web(t, ok)}}, policy.Limits{Concurrency: policy.None})
	if _, err := page(t, none, "http://web/"); !errors.Is(err, limit.ErrFull) {
		t.Errorf("where none are allowed: %v", err)
	}
}

// Over HTTP/1.1 calls queue for a connection, as many as may.
func TestLimitsQueueForConnections(t *testing.T) {
	var now, most atomic.Int32
	m := limitedTo(t, discovery.Static{"web": {web(t, func(http.ResponseWriter, *http.Request) {
		n := now.Add(1)
		defer now.Add(-1)
		for seen := most.Load(); n > seen && !most.CompareAndSwap(seen, n); seen = most.Load() {
		}
	})}}, policy.Limits{Connections: 2, Pending: 100})
	var calls sync.WaitGroup
	for range 50 {
		calls.Go(func() {
			res, err := page(t, m, "http://web/")
			if err != nil {
				t.Error(err)
				return
			}
			read(t, res)
		})
	}
	calls.Wait()
	if most.Load() > 2 {
		t.Errorf("%d calls at once", most.Load())
	}
}

func TestLimitsOfGRPC(t *testing.T) {
	entered, leave := make(chan struct{}), make(chan struct{})
	p := &payments{unary: func(context.Context, int32) error { entered <- struct{}{}; <-leave; return nil }}
	addr, _ := p.start(t)
	stub := dialled(t, limitedTo(t, discovery.Static{"payments": {addr}}, policy.Limits{Concurrency: 1}))
	ended := make(chan error)
	go func() {
		_, err := stub.UnaryCall(limited(t), &grpc_testing.SimpleRequest{})
		ended <- err
	}()
	<-entered
	_, err := stub.UnaryCall(limited(t), &grpc_testing.SimpleRequest{})
	if status.Code(err) != codes.ResourceExhausted || !errors.Is(err, limit.ErrFull) {
		t.Errorf("the second call: %v", err)
	}
	close(leave)
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
