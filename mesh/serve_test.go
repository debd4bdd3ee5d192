package mesh_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/interop/grpc_testing"

	"github.com/innermesh/innermesh/discovery"
	"github.com/innermesh/innermesh/internal/consultest"
	"github.com/innermesh/innermesh/mesh"
	"github.com/innermesh/innermesh/tlsutil"
)

// house is a server of both protocols whose calls can be held.
type house struct {
	grpc_testing.UnimplementedTestServiceServer
	held    chan struct{} // closed to let go
	arrived chan struct{} // one for each held call
}

func newHouse() *house { return &house{held: make(chan struct{}), arrived: make(chan struct{}, 10)} }

func (h *house) hold(ctx context.Context) error {
	h.arrived <- struct{}{}
	select {
	case <-h.held:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (h *house) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/held" && h.hold(r.Context()) != nil {
		return
	}
	_, _ = io.WriteString(w, "at home")
}

func (h *house) UnaryCall(context.Context, *grpc_testing.SimpleRequest) (*grpc_testing.SimpleResponse, error) {
	return &grpc_testing.SimpleResponse{Username: "at home"}, nil
}

// FullDuplexCall holds the stream after its first message.
func (h *house) FullDuplexCall(s grpc_testing.TestService_FullDuplexCallServer) error {
	if _, err := s.Recv(); err != nil {
		return err
	}
	if err := s.Send(new(grpc_testing.StreamingOutputCallResponse)); err != nil {
		return err
	}
	if err := h.hold(s.Context()); err != nil {
		return err
	}
	return s.Send(new(grpc_testing.StreamingOutputCallResponse))
}

// served is a running Serve.
type served struct {
	mesh      *mesh.Mesh
	listening mesh.Listening
	leave     context.CancelFunc
	ended     chan error
}

// begin runs Serve until the test ends, and returns when it listens and, if it is
// announced at all, when that is done.
func beginServing(t *testing.T, o mesh.Options, s mesh.Serving) *served {
	t.Helper()
	o.Service, o.Logger = "orders", slog.New(slog.DiscardHandler)
	m, err := mesh.New(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	v := &served{mesh: m, leave: cancel, ended: make(chan error, 1)}
	listening, announced := make(chan mesh.Listening, 1), make(chan *mesh.Registered, 1)
	s.Listening, s.Announced = func(l mesh.Listening) { listening <- l }, func(r *mesh.Registered) { announced <- r }
	if s.Addr == "" {
		s.Addr = "127.0.0.1:0"
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		v.ended <- m.Serve(ctx, s)
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
		_ = m.Close(context.Background())
	})
	select {
	case v.listening = <-listening:
	case err := <-v.ended:
		t.Fatalf("it does not serve: %v", err)
	}
	if s.Unregistered {
		return v
	}
	select {
	case <-announced:
	case err := <-v.ended:
		t.Fatalf("it does not serve: %v", err)
	}
	return v
}

// left waits for the end.
func (v *served) left(t *testing.T, within time.Duration) error {
	t.Helper()
	timer := time.NewTimer(within)
	defer timer.Stop()
	select {
	case err := <-v.ended:
		v.ended <- err
		return err
	case <-timer.C:
		t.Fatalf("it has not left within %v", within)
		return nil
	}
}

// callersOf are clients over HTTP and gRPC that find a service in a registry.
func callersOf(t *testing.T, o mesh.Options, web, rpc string) (overHTTP, overGRPC func(context.Context) (string, error), stub grpc_testing.TestServiceClient) {
	t.Helper()
	m := newMesh(t, o)
	client := m.HTTPClient()
	overHTTP = func(ctx context.Context) (string, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+web+"/", strings.NewReader("knock"))
		if err != nil {
			return "", err
		}
		res, err := client.Do(req)
		if err != nil {
			return "", err
		}
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		if err == nil && res.StatusCode != http.StatusOK {
			err = fmt.Errorf("answered %s: %s", res.Status, body)
		}
		return string(body), err
	}
	conn, err := m.GRPCClient(rpc)
	if err != nil {
		t.Fatal(err)
	}
	stub = grpc_testing.NewTestServiceClient(conn)
	overGRPC = func(ctx context.Context) (string, error) {
		res, err := stub.UnaryCall(ctx, new(grpc_testing.SimpleRequest))
		return res.GetUsername(), err
	}
	return overHTTP, overGRPC, stub
}

// Both protocols are served and found, on one port or two, in plain text or over
// mTLS, and after leaving nobody is there.
func TestServe(t *testing.T) {
	ca, err := tlsutil.NewDevCA(tlsutil.DevCAOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		tls    mesh.TLSOptions
		grpcAt string
		rpc    string
	}{
		{"one port", mesh.TLSOptions{}, "", "orders"},
		{"two ports", mesh.TLSOptions{}, "127.0.0.1:0", "orders-grpc"},
		{"one port, mTLS", mesh.TLSOptions{DevCA: ca}, "", "orders"},
	} {
		t.Run(c.name, func(t *testing.T) {
			registry, h := new(discovery.Memory), newHouse()
			v := beginServing(t, mesh.Options{Discovery: registry, TLS: c.tls}, mesh.Serving{
				HTTP: h, GRPC: func(s *grpc.Server) { grpc_testing.RegisterTestServiceServer(s, h) },
				GRPCAddr: c.grpcAt, HealthAddr: "127.0.0.1:0", Quiet: -1,
			})
			overHTTP, overGRPC, _ := callersOf(t, mesh.Options{Discovery: registry, TLS: c.tls}, "orders", c.rpc)
			for name, call := range map[string]func(context.Context) (string, error){"HTTP": overHTTP, "gRPC": overGRPC} {
				if got, err := call(t.Context()); err != nil || got != "at home" {
					t.Errorf("over %s: %q, %v", name, got, err)
				}
			}
			res, err := visitor(t).Get("http://" + v.listening.Health.String() + "/readyz")
			if err != nil {
				t.Fatal(err)
			}
			_ = res.Body.Close()
			if res.StatusCode != http.StatusOK {
				t.Errorf("/readyz: %s", res.Status)
			}
			v.leave()
			if err := v.left(t, 10*time.Second); err != nil {
				t.Errorf("left with %v", err)
			}
			if all := instancesOf(t, registry, "orders"); len(all) != 0 {
				t.Errorf("left behind: %+v", all)
			}
			if _, err := net.DialTimeout("tcp", v.listening.Addr.String(), time.Second); err == nil {
				t.Error("somebody still listens")
			}
		})
	}
}

// gRPC alone needs no HTTP; its health is gRPC's, on the same port.
func TestServeGRPCAlone(t *testing.T) {
	registry, h := new(discovery.Memory), newHouse()
	v := beginServing(t, mesh.Options{Discovery: registry}, mesh.Serving{
		GRPC: func(s *grpc.Server) { grpc_testing.RegisterTestServiceServer(s, h) }, Quiet: -1,
	})
	_, overGRPC, _ := callersOf(t, mesh.Options{Discovery: registry}, "orders", "orders")
	if got, err := overGRPC(t.Context()); err != nil || got != "at home" {
		t.Errorf("%q, %v", got, err)
	}
	conn, err := grpc.NewClient(v.listening.Addr.String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	watch, err := healthpb.NewHealthClient(conn).Watch(t.Context(), &healthpb.HealthCheckRequest{Service: "grpc.testing.TestService"})
	if err != nil {
		t.Fatal(err)
	}
	if res, err := watch.Recv(); err != nil || res.GetStatus() != healthpb.HealthCheckResponse_SERVING {
		t.Fatalf("%v, %v", res, err)
	}
	// Who watches hears of the leaving, and does not hold it up.
	v.leave()
	if res, err := watch.Recv(); err != nil || res.GetStatus() != healthpb.HealthCheckResponse_NOT_SERVING {
		t.Errorf("%v, %v", res, err)
	}
	if err := v.left(t, 5*time.Second); err != nil {
		t.Errorf("left with %v", err)
	}
}

// Leaving goes step by step: not ready and gone from the registry first, while who
// comes is served and asked to close; who is here is served to the end.
func TestServeLeavesWell(t *testing.T) {
	for _, grpcAt := range []string{"", "127.0.0.1:0"} {
		registry, h := new(discovery.Memory), newHouse()
		v := beginServing(t, mesh.Options{Discovery: registry}, mesh.Serving{
			HTTP: h, GRPC: func(s *grpc.Server) { grpc_testing.RegisterTestServiceServer(s, h) }, GRPCAddr: grpcAt,
			Quiet: time.Second, Finish: 20 * time.Second,
		})
		url := "http://" + v.listening.Addr.String()
		rpc := "orders"
		if grpcAt != "" {
			rpc = "orders-grpc"
		}
		_, _, stub := callersOf(t, mesh.Options{Discovery: registry}, "orders", rpc)
		stream, err := stub.FullDuplexCall(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(stream.Send(new(grpc_testing.StreamingOutputCallRequest)), second(stream.Recv())); err != nil {
			t.Fatal(err)
		}
		slow, outside := make(chan error, 1), visitor(t)
		go func() {
			res, err := outside.Post(url+"/held", "", strings.NewReader("knock"))
			if err == nil {
				var body []byte
				body, err = io.ReadAll(res.Body)
				_ = res.Body.Close()
				if string(body) != "at home" {
					err = errors.Join(err, fmt.Errorf("answered %s: %q", res.Status, body))
				}
			}
			slow <- err
		}()
		<-h.arrived
		<-h.arrived

		v.leave()
		eventually(t, 5*time.Second, "the registry shows it as leaving", func() bool {
			all := instancesOf(t, registry, "orders")
			return len(all) == 1 && all[0].Health == discovery.Critical
		})
		eventually(t, 5*time.Second, "answers ask to close", func() bool {
			res, err := visitor(t).Get(url + "/readyz")
			if err != nil {
				t.Fatalf("who comes while it leaves is not served: %v", err)
			}
			defer res.Body.Close()
			if res.StatusCode != http.StatusServiceUnavailable {
				t.Fatalf("/readyz says %s", res.Status)
			}
			return res.Close
		})
		if res, err := visitor(t).Post(url, "", strings.NewReader("late")); err != nil || res.StatusCode != http.StatusOK {
			t.Errorf("late, and not served: %v", err)
		} else {
			_ = res.Body.Close()
		}
		eventually(t, 5*time.Second, "it is deregistered", func() bool { return len(instancesOf(t, registry, "orders")) == 0 })
		select {
		case err := <-v.ended:
			t.Fatalf("it has left before its calls have ended: %v", err)
		default:
		}
		close(h.held)
		if err := <-slow; err != nil {
			t.Errorf("the call that was under way: %v", err)
		}
		if err := second(stream.Recv()); err != nil {
			t.Errorf("the stream that was under way: %v", err)
		}
		if err := second(stream.Recv()); !errors.Is(err, io.EOF) {
			t.Errorf("the stream's end: %v", err)
		}
		if err := v.left(t, 10*time.Second); err != nil {
			t.Errorf("left with %v", err)
		}
	}
}

// visitor is somebody from outside the mesh.
func visitor(t *testing.T) *http.Client {
	t.Helper()
	transport := new(http.Transport)
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

func second[T any](_ T, err error) error { return err }

// Who does not end in time is cut off, and Serve says so.
func TestServeCutsOff(t *testing.T) {
	for _, grpcAt := range []string{"", "127.0.0.1:0"} {
		registry, h := new(discovery.Memory), newHouse()
		v := beginServing(t, mesh.Options{Discovery: registry}, mesh.Serving{
			HTTP: h, GRPC: func(s *grpc.Server) { grpc_testing.RegisterTestServiceServer(s, h) }, GRPCAddr: grpcAt,
			Quiet: -1, Finish: 300 * time.Millisecond,
		})
		rpc := "orders"
		if grpcAt != "" {
			rpc = "orders-grpc"
		}
		_, _, stub := callersOf(t, mesh.Options{Discovery: registry}, "orders", rpc)
		stream, err := stub.FullDuplexCall(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(stream.Send(new(grpc_testing.StreamingOutputCallRequest)), second(stream.Recv())); err != nil {
			t.Fatal(err)
		}
		v.leave()
		if err := v.left(t, 5*time.Second); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "cut off") {
			t.Errorf("left with %v", err)
		}
		if err := second(stream.Recv()); err == nil {
			t.Error("the stream lives on")
		}
	}
}

// Callers who do not notice hold the leaving up as long as it may take, no longer.
func TestServeNoticeIsBounded(t *testing.T) {
	v := beginServing(t, mesh.Options{Discovery: new(discovery.Memory)}, mesh.Serving{
		HTTP: newHouse(), Notice: time.Second, Quiet: 300 * time.Millisecond,
	})
	v.leave()
	start, outside := time.Now(), visitor(t)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for served := 0; ; served++ {
		res, err := outside.Get("http://" + v.listening.Addr.String())
		if err != nil {
			if took := time.Since(start); took < 800*time.Millisecond || served == 0 {
				t.Errorf("it was gone after %v and %d calls", took, served)
			}
			break
		}
		_ = res.Body.Close()
		<-tick.C
	}
	if err := v.left(t, 5*time.Second); err != nil {
		t.Errorf("left with %v", err)
	}
}

func TestServeFaults(t *testing.T) {
	m := newMesh(t, mesh.Options{Discovery: new(discovery.Memory)})
	err := m.Serve(t.Context(), mesh.Serving{
		Addr: "nowhere", GRPCAddr: ":1", Notice: -1, Finish: -1, Probe: true, Registration: mesh.Registration{Port: 1, CheckHTTP: "x"},
	})
	for _, part := range []string{"Serving.HTTP", "Addr", "GRPCAddr", "Notice", "Finish", "Probe", "Registration.Port"} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%v does not name %s", err, part)
		}
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for field, s := range map[string]mesh.Serving{
		"Addr":       {Addr: taken.Addr().String()},
		"HealthAddr": {Addr: "127.0.0.1:0", HealthAddr: taken.Addr().String()},
	} {
		s.HTTP = newHouse()
		err := m.Serve(t.Context(), s)
		if fault, ok := errors.AsType[*mesh.OptionError](err); !ok || fault.Field != "Serving."+field || !strings.Contains(err.Error(), "taken") {
			t.Errorf("a port that is taken: %v", err)
		}
	}
}

// A registration that will never be accepted ends it; a source without a registry
// does not.
func TestServeRegistrars(t *testing.T) {
	m := newMesh(t, mesh.Options{Discovery: &refusing{suffix: "checkout"}})
	if err := m.Serve(t.Context(), mesh.Serving{Addr: "127.0.0.1:0", HTTP: newHouse(), Quiet: -1}); err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("refused for good: %v", err)
	}
	v := beginServing(t, mesh.Options{Discovery: discovery.Static{}}, mesh.Serving{HTTP: newHouse(), Quiet: -1, Unregistered: true})
	v.leave()
	if err := v.left(t, 5*time.Second); err != nil {
		t.Errorf("not registered: %v", err)
	}
}

// A Consul that is not there, or answers nonsense, keeps nobody from serving and
// from leaving.
func TestServeWithoutConsul(t *testing.T) {
	for name, answer := range map[string]http.HandlerFunc{
		"refuses": func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "Permission denied", http.StatusForbidden) },
		"fails": func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "no leader", http.StatusInternalServerError)
		},
		"babbles":   func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>") },
		"is silent": func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
	} {
		t.Run(name, func(t *testing.T) {
			agent := &http.Server{Handler: answer, ReadHeaderTimeout: time.Minute}
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			go func() { _ = agent.Serve(l) }()
			t.Cleanup(func() { _ = agent.Close() })
			log := new(lines)
			m, err := mesh.New(t.Context(), mesh.Options{
				Service: "orders", Consul: mesh.ConsulOptions{Address: l.Addr().String()}, Logger: slog.New(slog.NewTextHandler(log, nil)),
			})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			listening, ended := make(chan mesh.Listening, 1), make(chan error, 1)
			go func() {
				ended <- m.Serve(ctx, mesh.Serving{
					Addr: "127.0.0.1:0", HTTP: newHouse(), Quiet: -1, Listening: func(l mesh.Listening) { listening <- l },
				})
			}()
			at := <-listening
			for _, path := range []string{"/", "/readyz"} {
				res, err := visitor(t).Get("http://" + at.Addr.String() + path)
				if err != nil {
					t.Fatal(err)
				}
				_ = res.Body.Close()
				if res.StatusCode != http.StatusOK {
					t.Errorf("%s: %s", path, res.Status)
				}
			}
			if name != "is silent" {
				eventually(t, 5*time.Second, "it says so", func() bool { return log.count("registered yet")+log.count("refuses this program") > 0 })
			}
			start := time.Now()
			cancel()
			if err := <-ended; err != nil {
				t.Errorf("left with %v", err)
			}
			if err := m.Close(context.Background()); err != nil {
				t.Errorf("closed with %v", err)
			}
			if took := time.Since(start); took > 8*time.Second {
				t.Errorf("it took %v to end", took)
			}
			if n := log.count("registered yet") + log.count("refuses this program"); n > 1 {
				t.Errorf("told %d times", n)
			}
		})
	}
}

// The agent probes a program that wants it, over HTTP or gRPC, and sees a warning.
func TestServeProbed(t *testing.T) {
	agent := consultest.Shared(t)
	client := consulClient(t, agent)
	h := newHouse()
	for name, s := range map[string]mesh.Serving{
		"HTTP": {HTTP: h},
		"gRPC": {GRPC: func(s *grpc.Server) { grpc_testing.RegisterTestServiceServer(s, h) }},
	} {
		t.Run(name, func(t *testing.T) {
			s.Probe, s.Quiet = true, -1
			s.Registration = mesh.Registration{Service: consultest.Name(t, "orders"), CheckInterval: time.Second}
			v := beginServing(t, mesh.Options{Consul: mesh.ConsulOptions{Address: agent.HTTPAddr}}, s)
			passing := func() int {
				all, _, err := client.Health().Service(s.Registration.Service, "", true, nil)
				if err != nil {
					t.Fatal(err)
				}
				return len(all)
			}
			eventually(t, 10*time.Second, "it is passing", func() bool { return passing() == 1 })
			v.leave()
			if err := v.left(t, 10*time.Second); err != nil {
				t.Errorf("left with %v", err)
			}
			if n := passing(); n != 0 {
				t.Errorf("left, and passing: %d", n)
			}
		})
	}
}

// lines is a log whose lines can be counted.
type lines struct {
	mu   sync.Mutex
	said []byte
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.said = append(l.said, b...)
	return len(b), nil
}

func (l *lines) count(part string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(string(l.said), part)
}
