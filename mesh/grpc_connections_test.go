package mesh_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/stats"

	"github.com/innermesh/innermesh/call"
	"github.com/innermesh/innermesh/discovery"
	"github.com/innermesh/innermesh/limit"
	"github.com/innermesh/innermesh/mesh"
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

// A connection that is too old is exchanged, also where there may be but one, and
// neither calls nor a stream that lasts notice.
func TestGRPCConnectionsAreExchanged(t *testing.T) {
	const age = 50 * time.Millisecond
	for name, most := range map[string]policy.Limit{"as many as are wanted": policy.NoLimit, "one": 1} {
		t.Run(name, func(t *testing.T) {
			var made, open atomic.Int32
			end := make(chan struct{})
			p := &payments{down: func(s grpc.ServerStreamingServer[grpc_testing.StreamingOutputCallResponse], _ int32) error {
				<-end
				return s.Send(&grpc_testing.StreamingOutputCallResponse{})
			}}
			addr, _ := p.start(t, grpc.StatsHandler(&counter{made: &made, open: &open}))
			m := newMesh(t, mesh.Options{Discovery: discovery.Static{"payments": {addr}}, Defaults: policy.Service{
				Connections: policy.Connections{MaxAge: policy.Duration(age)},
				Limits:      policy.Limits{Connections: most},
				Retry:       policy.Retry{Attempts: 1},
			}})
			stub := dialled(t, m)
			lasting, err := stub.StreamingOutputCall(limited(t), &grpc_testing.StreamingOutputCallRequest{})
			if err != nil {
				t.Fatal(err)
			}
			for began := time.Now(); time.Since(began) < patience && made.Load() < 6; {
				if _, err := stub.UnaryCall(limited(t), &grpc_testing.SimpleRequest{}); err != nil {
					t.Fatalf("a call failed while connections were exchanged: %v", err)
				}
			}
			if n := made.Load(); n < 6 {
				t.Errorf("%d connections were made", n)
			}
			close(end)
			if _, err := lasting.Recv(); err != nil {
				t.Errorf("the stream on the first one: %v", err)
			}
			eventually(t, patience, "the old ones are closed", func() bool { return open.Load() <= 2 })
		})
	}
}

// counter counts the connections of a server.
type counter struct{ made, open *atomic.Int32 }

// TagRPC implements [stats.Handler], and so do the others.
func (c *counter) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context { return ctx }

// HandleRPC does nothing.
func (c *counter) HandleRPC(context.Context, stats.RPCStats) {}

// TagConn counts one more.
func (c *counter) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context {
	c.made.Add(1)
	c.open.Add(1)
	return ctx
}

// HandleConn counts one less.
func (c *counter) HandleConn(_ context.Context, s stats.ConnStats) {
	if _, ended := s.(*stats.ConnEnd); ended {
		c.open.Add(-1)
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
