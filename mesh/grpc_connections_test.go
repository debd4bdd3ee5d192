package mesh_test

import (
	"errors"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/interop/grpc_testing"

	"github.com/innermesh/innermesh/call"
	"github.com/innermesh/innermesh/discovery"
	"github.com/innermesh/innermesh/limit"
	"github.com/innermesh/innermesh/policy"
)

// Where there may be fewer connections than instances, calls go to those that have
// one, without waiting, and the others are not blamed.
func TestGRPCConnectionsAreLimited(t *testing.T) {
	m := limitedTo(t, discovery.Static{"payments": new(payments).three(t)}, policy.Limits{Connections: 1})
	stub := dialled(t, m)
	began, reached := time.Now(), map[string]bool{}
	for range 100 {
		res, err := stub.UnaryCall(limited(t), &grpc_testing.SimpleRequest{})
		if err != nil {
			t.Fatal(err)
		}
		reached[res.GetUsername()] = true
	}
	if took := time.Since(began); took > time.Second {
		t.Errorf("100 calls took %v", took)
	}
	if n := len(reached); n != 1 {
		t.Errorf("%d instances were reached over one connection", n)
	}
	if n := failures(m); n != 0 {
		t.Errorf("%d failures are laid at the instances' door", n)
	}
}

// Where there may be none, a call is told so.
func TestGRPCConnectionsMayBeNone(t *testing.T) {
	addr, _ := new(payments).start(t)
	m := limitedTo(t, discovery.Static{"payments": {addr}}, policy.Limits{Connections: policy.None})
	_, err := dialled(t, m).UnaryCall(limited(t), &grpc_testing.SimpleRequest{})
	ended(t, err, codes.ResourceExhausted, call.Refused, call.NotSent)
	if !errors.Is(err, limit.ErrFull) {
		t.Errorf("got %v, want that all places are taken", err)
	}
	if n := failures(m); n != 0 {
		t.Errorf("%d failures are laid at the instances' door", n)
	}
}
