package nats_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"
)

// requireEnv turns the skip of a test without a NATS server into a failure when
// it is "1". CI sets it.
const requireEnv = "INNERMESH_REQUIRE_ENGINES"

// shared is the server of all tests that do not kill theirs.
var shared *server

func TestMain(m *testing.M) { goleak.VerifyTestMain(withServer{m}) }

// withServer runs the tests beside a server of their own.
type withServer struct{ m *testing.M }

func (w withServer) Run() int {
	binary := find()
	if binary == "" {
		return w.m.Run()
	}
	dir, err := os.MkdirTemp("", "nats")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	shared = &server{binary: binary, dir: dir}
	if err := shared.start(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer shared.kill()
	return w.m.Run()
}

// find looks where Debian puts the server too, which is not in every PATH.
func find() string {
	for _, name := range []string{"nats-server", "/usr/sbin/nats-server"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	return ""
}

func needServer(t testing.TB) {
	t.Helper()
	switch {
	case shared != nil:
	case os.Getenv(requireEnv) == "1":
		t.Fatal("there is no nats-server: apt-get install nats-server")
	default:
		t.Skip("there is no nats-server: apt-get install nats-server")
	}
}

// server is a NATS server on a port of its own.
type server struct {
	binary, dir string
	port        int
	stdin       interface{ Close() error }
	cmd         *exec.Cmd
}

// start starts it, the second time on the port and with the data of the first. It
// ends when its standard input does: also when the tests are killed.
func (s *server) start() error {
	tries := 5
	if s.port != 0 {
		tries = 1
	}
	var err error
	for range tries {
		port := s.port
		if port == 0 {
			if port, err = freePort(); err != nil {
				return err
			}
		}
		if err = s.startOn(port); err == nil {
			s.port = port
			return nil
		}
	}
	return err
}

func (s *server) startOn(port int) error {
	log := filepath.Join(s.dir, "log")
	s.cmd = exec.Command("sh", "-c", `"$@" >>"$0" 2>&1 & cat; kill -9 $!; wait`, log, s.binary,
		"--addr", "127.0.0.1", "--port", strconv.Itoa(port), "--jetstream", "--store_dir", s.dir)
	stdin, err := s.cmd.StdinPipe()
	if err != nil {
		return err
	}
	s.stdin = stdin
	if err := s.cmd.Start(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	for {
		if err := ready(ctx, port); err == nil {
			return nil
		}
		retry := time.NewTimer(20 * time.Millisecond)
		select {
		case <-retry.C:
		case <-ctx.Done():
			s.kill()
			text, _ := os.ReadFile(log)
			return fmt.Errorf("nats-server is not ready: %w\n%s", ctx.Err(), text)
		}
	}
}

func ready(ctx context.Context, port int) error {
	conn, err := natsgo.Connect(fmt.Sprintf("nats://127.0.0.1:%d", port))
	if err != nil {
		return err
	}
	defer conn.Close()
	js, err := jetstream.New(conn)
	if err != nil {
		return err
	}
	_, err = js.AccountInfo(ctx)
	return err
}

// kill ends it with SIGKILL.
func (s *server) kill() {
	_ = s.stdin.Close()
	_ = s.cmd.Wait() // how a killed server ends says nothing
}

func freePort() (int, error) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	addr, ok := l.Addr().(*net.TCPAddr)
	if !ok {
		return 0, errors.New("no TCP address")
	}
	return addr.Port, l.Close()
}

// connect returns JetStream on a connection of its own.
func (s *server) connect(t interface {
	Cleanup(f func())
	Fatalf(format string, args ...any)
},
) jetstream.JetStream {
	closed := make(chan struct{})
	conn, err := natsgo.Connect(fmt.Sprintf("nats://127.0.0.1:%d", s.port),
		natsgo.MaxReconnects(-1), natsgo.ReconnectWait(20*time.Millisecond), natsgo.ReconnectJitter(0, 0),
		natsgo.ClosedHandler(func(*natsgo.Conn) { close(closed) }))
	if err != nil {
		t.Fatalf("%v", err)
	}
	t.Cleanup(func() {
		conn.Close()
		<-closed
	})
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatalf("%v", err)
	}
	return js
}
