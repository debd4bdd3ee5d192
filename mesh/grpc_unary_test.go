package mesh_test

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/innermesh/innermesh/call"
	"github.com/innermesh/innermesh/mesh"
	"github.com/innermesh/innermesh/policy"
)

func TestGRPCSpreads(t *testing.T) {
	addrs := new(payments).three(t)
	client := dialled(t, newMesh(t, mesh.Options{Discovery: addresses{"payments": addrs}}))
	seen := map[string]int{}
	for range 60 {
		res, err := client.UnaryCall(limited(t), &grpc_testing.SimpleRequest{})
		if err != nil {
			t.Fatal(err)
		}
		seen[res.GetUsername()]++
	}
	for _, addr := range addrs {
		if seen[addr] == 0 {
			t.Errorf("instance %s was never asked: %v", addr, seen)
		}
	}
}

func TestGRPCKilledInstanceCostsNothing(t *testing.T) {
	p := new(payments)
	addrs := p.three(t)
	addr, victim := p.start(t)
	m := newMesh(t, mesh.Options{Discovery: addresses{"payments": append(addrs, addr)}})
	client := dialled(t, m)
	ctx := call.With(limited(t), call.Options{Idempotent: true})
	var killed atomic.Bool
	var callers sync.WaitGroup
	for range 4 {
		callers.Go(func() {
			for after := 0; after < 50 && !t.Failed(); {
				if killed.Load() {
					after++
				}
				if _, err := client.UnaryCall(ctx, &grpc_testing.SimpleRequest{}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for p.calls.Load() < 150 && ctx.Err() == nil {
		runtime.Gosched()
	}
	victim.Stop()
	killed.Store(true)
	callers.Wait()
	if failures(m) == 0 {
		t.Error("no attempt has met the killed instance: the test shows nothing")
	}
}

func TestGRPCInstanceThatCanNotBeDialledCostsNothing(t *testing.T) {
	p := new(payments)
	addr, _ := p.start(t)
	m := newMesh(t, mesh.Options{Discovery: addresses{"payments": {addr, deadAddress(t), deadAddress(t)}}})
	client := dialled(t, m)
	for n := range 30 {
		if _, err := client.UnaryCall(limited(t), &grpc_testing.SimpleRequest{}); err != nil {
			t.Errorf("call %d: %v", n, err)
		}
	}
	if n := p.calls.Load(); n != 30 {
		t.Errorf("the instance was asked %d times, want 30", n)
	}
	if failures(m) == 0 {
		t.Error("no attempt went to an instance that can not be dialled: the test shows nothing")
	}
}

func TestGRPCStatusIsTheServers(t *testing.T) {
	for _, code := range []codes.Code{
		codes.InvalidArgument, codes.NotFound, codes.ResourceExhausted, codes.Internal, codes.Unavailable,
		codes.DeadlineExceeded, codes.Canceled, codes.Unknown, codes.Code(77),
	} {
		t.Run(code.String(), func(t *testing.T) {
			want, err := status.New(code, "the card has no money: ÄÖ %").WithDetails(&grpc_testing.SimpleResponse{Username: "why"})
			if err != nil {
				t.Fatal(err)
			}
			p := &payments{unary: func(context.Context, int32) error { return want.Err() }}
			client := dialled(t, newMesh(t, mesh.Options{Discovery: addresses{"payments": p.three(t)}}))
			_, err = client.UnaryCall(limited(t), &grpc_testing.SimpleRequest{})
			if got, ok := status.FromError(err); !ok || !proto.Equal(got.Proto(), want.Proto()) {
				t.Errorf("got %v, want %v", got, want)
			}
		})
	}
}

func TestGRPCUnavailableIsRetriedIfIdempotent(t *testing.T) {
	plain := func(ctx context.Context) context.Context { return ctx }
	tests := map[string]struct {
		ctx     func(context.Context) context.Context
		methods []string
		calls   int32
	}{
		"not idempotent": {plain, nil, 1},
		"another method": {plain, []string{"/grpc.testing.TestService/EmptyCall"}, 1},
		"method":         {plain, []string{"/grpc.testing.TestService/UnaryCall"}, 2},
		"all methods":    {plain, []string{"/grpc.testing.TestService/*"}, 2},
		"call option": {func(ctx context.Context) context.Context {
			return call.With(ctx, call.Options{Idempotent: true})
		}, nil, 2},
		"call option, one attempt": {func(ctx context.Context) context.Context {
			return call.With(ctx, call.Options{Idempotent: true, Attempts: 1})
		}, nil, 1},
		"key": {func(ctx context.Context) context.Context {
			return metadata.AppendToOutgoingContext(ctx, "Idempotency-Key", "42")
		}, nil, 2},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			p := &payments{unary: busyOnce}
			client := dialled(t, newMesh(t, mesh.Options{
				Discovery: addresses{"payments": p.three(t)},
				Defaults:  policy.Service{Retry: policy.Retry{Methods: test.methods}},
			}))
			_, err := client.UnaryCall(test.ctx(limited(t)), &grpc_testing.SimpleRequest{})
			if n := p.calls.Load(); n != test.calls {
				t.Errorf("%d attempts, want %d", n, test.calls)
			}
			if s := status.Convert(err); test.calls == 1 && (s.Code() != codes.Unavailable || s.Message() != "busy") {
				t.Errorf("got %v, want what the server said", err)
			} else if test.calls == 2 && err != nil {
				t.Error(err)
			}
		})
	}
}

func TestGRPCPushbackStops(t *testing.T) {
	p := &payments{unary: func(ctx context.Context, call int32) error {
		_ = grpc.SetTrailer(ctx, metadata.Pairs("grpc-retry-pushback-ms", "-1"))
		return busyOnce(ctx, call)
	}}
	client := dialled(t, newMesh(t, mesh.Options{Discovery: addresses{"payments": p.three(t)}}))
	_, err := client.UnaryCall(call.With(limited(t), call.Options{Idempotent: true}), &grpc_testing.SimpleRequest{})
	if s := status.Convert(err); s.Code() != codes.Unavailable || s.Message() != "busy" {
		t.Errorf("got %v, want what the server said", err)
	}
	if n := p.calls.Load(); n != 1 {
		t.Errorf("%d attempts, want 1", n)
	}
}

func TestGRPCTimeRunsOut(t *testing.T) {
	asked, release := make(chan struct{}, 8), make(chan struct{})
	p := &payments{unary: func(context.Context, int32) error { // deaf, so that only the client can end the call
		asked <- struct{}{}
		<-release
		return nil
	}}
	m := newMesh(t, mesh.Options{Discovery: addresses{"payments": p.three(t)}})
	t.Cleanup(func() { close(release) })
	client := dialled(t, m)
	check := func(err error, code codes.Code, cause error, reason call.Reason) {
		t.Helper()
		e, ok := errors.AsType[*call.Error](err)
		if status.Code(err) != code || !errors.Is(err, cause) || !ok || e.Reason != reason || e.Service != "payments" {
			t.Errorf("got %v (code %v, %+v), want %v, %v", err, status.Code(err), e, code, reason)
		}
	}

	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := client.UnaryCall(ctx, &grpc_testing.SimpleRequest{})
	check(err, codes.DeadlineExceeded, context.DeadlineExceeded, call.Expired)

	_, err = client.UnaryCall(call.With(limited(t), call.Options{Timeout: 50 * time.Millisecond}), &grpc_testing.SimpleRequest{})
	check(err, codes.DeadlineExceeded, context.DeadlineExceeded, call.Expired)

	for len(asked) > 0 {
		<-asked
	}
	ctx, cancel = context.WithCancel(limited(t))
	go func() {
		<-asked
		cancel()
	}()
	_, err = client.UnaryCall(ctx, &grpc_testing.SimpleRequest{})
	cancel()
	check(err, codes.Canceled, context.Canceled, call.Canceled)
	if n := inflight(m); n != 0 {
		t.Errorf("%d attempts are still in flight", n)
	}
}
