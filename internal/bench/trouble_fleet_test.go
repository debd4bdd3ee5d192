//go:build linux

package bench

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
)

// instances is how many there are; the first one gets into trouble.
const instances = 10

// trouble is what an instance is in.
type trouble struct {
	name string
	// serve does what a request needs instead of the usual, and says whether it
	// fails.
	serve func(ctx context.Context, since time.Duration) (failed bool)
	// cut has its connections end and packets to it dropped from then on.
	cut bool
}

var troubles = []trouble{
	{name: "slow by 20", serve: func(ctx context.Context, _ time.Duration) bool { return work(ctx, 20) }},
	{name: "half fails", serve: func(ctx context.Context, _ time.Duration) bool {
		return rand.N(2) == 0 || work(ctx, 1) // who fails does so at once
	}},
	{name: "connects vanish", cut: true},
	{name: "never answers", serve: func(ctx context.Context, _ time.Duration) bool { <-ctx.Done(); return true }},
	{name: "flapping", serve: func(ctx context.Context, since time.Duration) bool {
		return since/time.Second%2 == 0 || work(ctx, 1)
	}},
}

// work takes 2.5 to 7.5 ms, so many times.
func work(ctx context.Context, times float64) (failed bool) {
	timer := time.NewTimer(time.Duration(times * float64(2500*time.Microsecond+rand.N(5*time.Millisecond))))
	defer timer.Stop()
	select {
	case <-timer.C:
		return false
	case <-ctx.Done():
		return true
	}
}

// fleet is ten instances, on sockets of their own.
type fleet struct {
	trouble trouble
	addrs   []string
	counts  [instances]atomic.Int64
	began   atomic.Int64 // when the trouble did, 0 is not yet
	epoch   time.Time
	bad     *registrar
}

func newFleet(t *testing.T, protocol string, in trouble) *fleet {
	t.Helper()
	f := &fleet{trouble: in, epoch: time.Now()}
	var plain net.ListenConfig
	plain.SetMultipathTCP(false) // the kernel's filters are for TCP alone
	for i := range instances {
		l, err := plain.Listen(t.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		f.addrs = append(f.addrs, l.Addr().String())
		r := &registrar{TCPListener: l.(*net.TCPListener)}
		if i == 0 {
			f.bad = r
		}
		served := make(chan struct{})
		var stop func()
		if protocol == "gRPC" {
			s := grpc.NewServer()
			healthpb.RegisterHealthServer(s, &answered{f: f, i: i})
			go func() { defer close(served); _ = s.Serve(r) }()
			stop = s.Stop
		} else {
			s := &http.Server{Handler: f.handler(i), ReadHeaderTimeout: time.Minute}
			go func() { defer close(served); _ = s.Serve(r) }()
			stop = func() { _ = s.Close() }
		}
		t.Cleanup(func() { stop(); <-served })
	}
	return f
}

// begin has the first instance get into trouble.
func (f *fleet) begin(t *testing.T) {
	t.Helper()
	f.began.Store(int64(time.Since(f.epoch)))
	if f.trouble.cut {
		if err := f.bad.cut(); err != nil {
			t.Fatal(err)
		}
	}
}

// asked is how many requests have reached the instances, and how many of them the
// bad one.
func (f *fleet) asked() (all, bad int64) {
	for i := range f.counts {
		all += f.counts[i].Load()
	}
	return all, f.counts[0].Load()
}

// answer does what a request to an instance needs, and says whether it fails.
func (f *fleet) answer(ctx context.Context, i int) (failed bool) {
	if began := f.began.Load(); i == 0 && began != 0 && f.trouble.serve != nil {
		return f.trouble.serve(ctx, time.Since(f.epoch)-time.Duration(began))
	}
	return work(ctx, 1)
}

// handler is an instance over HTTP. Checks are served as requests are, and not
// counted.
func (f *fleet) handler(i int) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/check" {
			f.counts[i].Add(1)
		}
		if f.answer(r.Context(), i) {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
}

// answered is an instance over gRPC.
type answered struct {
	healthpb.UnimplementedHealthServer
	f *fleet
	i int
}

func (c *answered) Check(ctx context.Context, r *healthpb.HealthCheckRequest) (*healthpb.HealthCheckResponse, error) {
	if r.GetService() == "web" { // who else asks is no caller
		c.f.counts[c.i].Add(1)
	}
	if c.f.answer(ctx, c.i) {
		return nil, status.Error(codes.Unavailable, "in trouble")
	}
	return &healthpb.HealthCheckResponse{Status: healthpb.HealthCheckResponse_SERVING}, nil
}

// registrar is a listener that knows its connections.
type registrar struct {
	*net.TCPListener
	mu    sync.Mutex
	conns []*net.TCPConn
}

// Accept implements [net.Listener].
func (r *registrar) Accept() (net.Conn, error) {
	c, err := r.AcceptTCP()
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.conns = append(r.conns, c)
	return c, nil
}

// cut ends all connections, and has the kernel drop every packet that asks for a
// new one: who connects hears nothing.
func (r *registrar) cut() error {
	raw, err := r.SyscallConn()
	if err != nil {
		return err
	}
	if e := raw.Control(func(fd uintptr) { err = dropAll(int(fd)) }); e != nil || err != nil {
		return errors.Join(e, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.conns {
		_ = c.SetLinger(0)
		_ = c.Close()
	}
	return nil
}

// dropAll gives a socket a filter that lets no packet in.
func dropAll(fd int) error {
	none := []unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K}} // keep 0 bytes of it
	return unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: 1, Filter: &none[0]})
}
