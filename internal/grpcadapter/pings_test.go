package grpcadapter

import (
	"context"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/test/bufconn"
)

// A stream that is silent for hours is kept by gRPC's stock server, which hangs up
// on clients that ask too often whether it is there.
func TestStockServersBearOurPings(t *testing.T) {
	tooOften := pings
	tooOften.Time = 4 * time.Minute
	for name, test := range map[string]struct {
		pings keepalive.ClientParameters
		kept  bool
	}{"ours": {pings, true}, "more often": {tooOften, false}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := bufconn.Listen(1 << 16)
				server := grpc.NewServer()
				grpc_testing.RegisterTestServiceServer(server, patient{})
				go func() { _ = server.Serve(l) }()
				defer server.Stop()
				conn, err := grpc.NewClient("passthrough:///stock", grpc.WithTransportCredentials(insecure.NewCredentials()),
					grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return l.DialContext(ctx) }),
					grpc.WithKeepaliveParams(test.pings))
				if err != nil {
					t.Fatal(err)
				}
				defer func() { _ = conn.Close() }()
				s, err := grpc_testing.NewTestServiceClient(conn).StreamingOutputCall(t.Context(), &grpc_testing.StreamingOutputCallRequest{})
				if err != nil {
					t.Fatal(err)
				}
				_, err = s.Recv()
				if kept := err == nil; kept != test.kept {
					t.Errorf("after hours of silence: %v", err)
				}
				if test.kept {
					if _, err := s.Recv(); err != io.EOF {
						t.Errorf("the end: %v", err)
					}
				}
			})
		})
	}
}

// patient is silent for six hours before it says a word.
type patient struct {
	grpc_testing.UnimplementedTestServiceServer
}

// StreamingOutputCall implements the service.
func (patient) StreamingOutputCall(
	_ *grpc_testing.StreamingOutputCallRequest, s grpc.ServerStreamingServer[grpc_testing.StreamingOutputCallResponse],
) error {
	select {
	case <-time.After(6 * time.Hour):
	case <-s.Context().Done():
	}
	return s.Send(&grpc_testing.StreamingOutputCallResponse{})
}
