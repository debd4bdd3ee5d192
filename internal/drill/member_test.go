package drill

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/interop/grpc_testing"

	"github.com/innermesh/innermesh/mesh"
)

// What a member is told by its environment, beside the agent and the service.
const (
	memberEnv = "INNERMESH_DRILL_MEMBER" // its ID
	secureEnv = "INNERMESH_DRILL_SECURE" // set: mTLS by Consul's CA
	aloneEnv  = "INNERMESH_DRILL_ALONE"  // set: registered in the catalog, without an agent
)

// streamed is how many messages a stream has, and streamedEvery how long it takes
// between two: it lasts a second.
const (
	streamed      = 10
	streamedEvery = 100 * time.Millisecond
)

// member serves both protocols on one port by [mesh.Mesh.Serve] until SIGTERM, or
// until whoever started it is no more.
func member(id, agent, service string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(3) // nobody is left to be told
	}()
	m, err := mesh.New(ctx, mesh.Options{
		Service: service, TLS: mesh.TLSOptions{Consul: os.Getenv(secureEnv) != ""},
		Consul: mesh.ConsulOptions{Address: agent, Agentless: os.Getenv(aloneEnv) != ""},
	})
	if err != nil {
		return err
	}
	err = m.Serve(ctx, mesh.Serving{
		Addr: "127.0.0.1:0",
		HTTP: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			pause(r.Context(), work)
			_, _ = io.WriteString(w, id)
		}),
		GRPC:         func(s *grpc.Server) { grpc_testing.RegisterTestServiceServer(s, answering{id: id}) },
		HealthAddr:   "127.0.0.1:0",
		Registration: mesh.Registration{ID: service + "-" + id, TTL: 6 * time.Second, DeregisterAfter: time.Minute},
		Quiet:        500 * time.Millisecond,
		Listening:    func(l mesh.Listening) { fmt.Println(l.Health) },
		Announced:    func(*mesh.Registered) { fmt.Println("registered") },
	})
	return errors.Join(err, m.Close(context.WithoutCancel(ctx)))
}

// StreamingOutputCall sends what it is asked for, in its time, each with the ID.
func (a answering) StreamingOutputCall(
	req *grpc_testing.StreamingOutputCallRequest, s grpc_testing.TestService_StreamingOutputCallServer,
) error {
	for _, p := range req.GetResponseParameters() {
		pause(s.Context(), time.Duration(p.GetIntervalUs())*time.Microsecond)
		err := s.Send(&grpc_testing.StreamingOutputCallResponse{Payload: &grpc_testing.Payload{Body: []byte(a.id)}})
		if err != nil {
			return err
		}
	}
	return nil
}

// memberLoads are steady loads of all kinds on a service of members: safe and
// unsafe, over HTTP and gRPC, and streams. pace is calls a second of each kind.
func memberLoads(m *mesh.Mesh, service string, pace float64) ([]*load, error) {
	client := m.HTTPClient()
	over := func(method string) func(context.Context) (string, error) {
		return func(ctx context.Context) (string, error) {
			req, err := http.NewRequestWithContext(ctx, method, "http://"+service+"/", http.NoBody)
			if err != nil {
				return "", err
			}
			res, err := client.Do(req)
			if err != nil {
				return "", err
			}
			defer res.Body.Close() // it was read
			body, err := io.ReadAll(res.Body)
			if err == nil && res.StatusCode != http.StatusOK {
				err = fmt.Errorf("answered %s", res.Status)
			}
			return string(body), err
		}
	}
	conn, err := m.GRPCClient(service)
	if err != nil {
		return nil, err
	}
	stub := grpc_testing.NewTestServiceClient(conn)
	unary := func(ctx context.Context) (string, error) { // not idempotent
		res, err := stub.UnaryCall(ctx, new(grpc_testing.SimpleRequest))
		return res.GetUsername(), err
	}
	asked := new(grpc_testing.StreamingOutputCallRequest)
	for range streamed {
		asked.ResponseParameters = append(asked.ResponseParameters,
			&grpc_testing.ResponseParameters{IntervalUs: int32(streamedEvery.Microseconds())})
	}
	stream := func(ctx context.Context) (id string, err error) {
		s, err := stub.StreamingOutputCall(ctx, asked)
		if err != nil {
			return "", err
		}
		for n := 0; ; n++ {
			res, err := s.Recv()
			switch {
			case errors.Is(err, io.EOF) && n == streamed:
				return id, nil
			case err != nil:
				return "", fmt.Errorf("cut after %d of %d messages: %w", n, streamed, err)
			}
			id = string(res.GetPayload().GetBody())
		}
	}
	loads := []*load{
		{name: service + " GET", call: over(http.MethodGet), pace: pace},
		{name: service + " POST", call: over(http.MethodPost), pace: pace},
		{name: service + " unary", call: unary, pace: pace},
		{name: service + " stream", call: stream, pace: pace / 4},
	}
	for _, l := range loads {
		l.answers = map[string]int{}
	}
	return loads, nil
}

// enlist starts members, each with an ID, and returns when all are registered.
func enlist(t *testing.T, agent string, secure bool, members map[string]string) map[string]*child {
	t.Helper()
	var more []string
	if secure {
		more = append(more, secureEnv+"=1")
	}
	return enlistWith(t, agent, members, more...)
}

// enlistWith starts members that are told more by their environment.
func enlistWith(t *testing.T, agent string, members map[string]string, more ...string) map[string]*child {
	t.Helper()
	all := map[string]*child{}
	for id, service := range members {
		env := append([]string{memberEnv + "=" + id, agentEnv + "=" + agent, serviceEnv + "=" + service}, more...)
		all[id] = launch(t, id, env...)
	}
	for id, c := range all {
		c.health = c.line(t)
		if line := c.line(t); line != "registered" {
			t.Fatalf("member %s did not get as far as being registered: %q", id, line)
		}
	}
	return all
}

// terminate ends members with SIGTERM, all at once, and returns when they have
// left, and how long the slowest took.
func terminate(t *testing.T, members ...*child) time.Duration {
	t.Helper()
	begin := time.Now()
	for _, c := range members {
		if err := c.cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatalf("terminate %s: %v", c.id, err)
		}
	}
	timer := time.NewTimer(30 * time.Second)
	defer timer.Stop()
	for _, c := range members {
		select {
		case <-c.ended:
			if c.err != nil {
				t.Errorf("%s left with %v", c.id, c.err)
			}
		case <-timer.C:
			t.Fatalf("%s has not left within 30 s", c.id)
		}
	}
	return time.Since(begin)
}
