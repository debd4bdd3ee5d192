package drill

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/interop/grpc_testing"

	"github.com/innermesh/innermesh/mesh"
)

// What a backend is told by its environment.
const (
	backendEnv = "INNERMESH_DRILL_BACKEND" // its ID
	agentEnv   = "INNERMESH_DRILL_AGENT"   // the address of Consul
	serviceEnv = "INNERMESH_DRILL_SERVICE" // what it is called, over HTTP; with "-grpc" over gRPC
)

// work is how long a backend takes for an answer, so that some are under way
// when it is killed.
const work = 5 * time.Millisecond

// backend serves both protocols, answers with its ID and is registered, until
// its standard input ends: when it is told to leave, or when whoever started it
// is no more. Then it leaves first and stops after.
func backend(id, agent, service string) (err error) {
	ctx := context.Background()
	m, err := mesh.New(ctx, mesh.Options{Service: "backend", Consul: mesh.ConsulOptions{Address: agent}})
	if err != nil {
		return err
	}
	web := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		pause(r.Context(), work)
		_, _ = io.WriteString(w, id)
	}), ReadHeaderTimeout: time.Minute}
	calls := grpc.NewServer()
	grpc_testing.RegisterTestServiceServer(calls, answering{id: id})

	served := make(chan error, 2)
	for name, serve := range map[string]func(net.Listener) error{service: web.Serve, service + "-grpc": calls.Serve} {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		go func() { served <- serve(listener) }()
		_, err = m.Register(ctx, mesh.Registration{
			Service: name, ID: name + "-" + id, Address: "127.0.0.1", Port: listener.Addr().(*net.TCPAddr).Port,
			Meta: map[string]string{"version": version(id)}, TTL: 6 * time.Second,
		})
		if err != nil {
			return err
		}
	}
	fmt.Println("registered")
	_, _ = io.Copy(io.Discard, os.Stdin) // until it ends, however

	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	// Should anything below hang, nobody would be left to end this process.
	time.AfterFunc(20*time.Second, func() { os.Exit(2) })
	err = m.Close(ctx)
	err = errors.Join(err, web.Shutdown(ctx))
	calls.GracefulStop()
	for range 2 {
		if e := <-served; !errors.Is(e, http.ErrServerClosed) {
			err = errors.Join(err, e)
		}
	}
	return err
}

// version is that of a backend, as in "v1-a"; subsets are made by it.
func version(id string) string {
	v, _, _ := strings.Cut(id, "-")
	return v
}

// answering is the gRPC side of a backend.
type answering struct {
	grpc_testing.UnimplementedTestServiceServer
	id string
}

func (a answering) UnaryCall(ctx context.Context, _ *grpc_testing.SimpleRequest) (*grpc_testing.SimpleResponse, error) {
	pause(ctx, work)
	return &grpc_testing.SimpleResponse{Username: a.id}, nil
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
