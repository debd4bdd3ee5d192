package drill

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/peer"

	"github.com/innermesh/innermesh/discovery"
	"github.com/innermesh/innermesh/mesh"
	"github.com/innermesh/innermesh/policy"
	"github.com/innermesh/innermesh/tlsutil"
)

// passports are the certificates that servers were shown, and by whom they were
// issued.
type passports struct {
	mu      sync.Mutex
	serials map[string]bool
	issuers map[string]bool
}

func (p *passports) see(id *credentials.TLSInfo) {
	leaf := id.State.PeerCertificates[0]
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.serials == nil {
		p.serials, p.issuers = map[string]bool{}, map[string]bool{}
	}
	p.serials[leaf.SerialNumber.String()] = true
	p.issuers[string(leaf.AuthorityKeyId)] = true
}

// count is how many there were, of how many issuers.
func (p *passports) count() (serials, issuers int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.serials), len(p.issuers)
}

// border is a server for each protocol behind mesh.Listen, and a caller. Many calls
// are the first on their connection, so that certificates are shown all the time.
type border struct {
	*stage
	passports passports
	members   []*mesh.Mesh // the servers, then the caller
}

// join makes a member of the mesh.
func (b *border) join(service string, source func(service string) mesh.TLSOptions, o mesh.Options) *mesh.Mesh {
	o.Service, o.TLS = service, source(service)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	m, err := mesh.New(b.t.Context(), o)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		_ = m.Close(ctx) // Consul may be gone
	})
	b.members = append(b.members, m)
	return m
}

// listen is where a member accepts.
func (b *border) listen(m *mesh.Mesh) net.Listener {
	l, err := m.Listen(b.t.Context(), "127.0.0.1:0")
	if err != nil {
		b.t.Fatal(err)
	}
	return l
}

// serveHTTP ends the connection with every tenth answer.
func (b *border) serveHTTP(l net.Listener) {
	var served atomic.Int64
	s := &http.Server{
		ReadHeaderTimeout: time.Minute, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError),
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			b.passports.see(&credentials.TLSInfo{State: *r.TLS})
			if served.Add(1)%10 == 0 {
				w.Header().Set("Connection", "close")
			}
			_, _ = io.WriteString(w, "a")
		}),
	}
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Serve(l) }()
	b.t.Cleanup(func() { _ = s.Close(); <-done })
}

// serveGRPC lets connections live for a moment.
func (b *border) serveGRPC(m *mesh.Mesh, l net.Listener) {
	see := grpc.UnaryInterceptor(func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
		p, _ := peer.FromContext(ctx)
		info, ok := p.AuthInfo.(credentials.TLSInfo)
		if !ok {
			return nil, errors.New("not secured")
		}
		b.passports.see(&info)
		return next(ctx, req)
	})
	s := grpc.NewServer(append(m.GRPCServerOptions(), see,
		grpc.KeepaliveParams(keepalive.ServerParameters{MaxConnectionAge: 300 * time.Millisecond}))...)
	grpc_testing.RegisterTestServiceServer(s, answering{id: "a"})
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Serve(l) }()
	b.t.Cleanup(func() { s.Stop(); <-done })
}

// play begins the load. Without an agent the servers' addresses are known.
func (b *border) play(agent string, source func(service string) mesh.TLSOptions) {
	b.t.Helper()
	known := discovery.Static{}
	for _, service := range []string{b.service, b.service + "-grpc"} {
		o := mesh.Options{Discovery: discovery.Static{}}
		if agent != "" {
			o = mesh.Options{Consul: mesh.ConsulOptions{Address: agent}}
		}
		m := b.join(service, source, o)
		l := b.listen(m)
		known[service] = []string{l.Addr().String()}
		if service == b.service {
			b.serveHTTP(l)
		} else {
			b.serveGRPC(m, l)
		}
		if agent == "" {
			continue
		}
		_, err := m.Register(b.t.Context(), mesh.Registration{Address: "127.0.0.1", Port: l.Addr().(*net.TCPAddr).Port, TTL: 15 * time.Second})
		if err != nil {
			b.t.Fatal(err)
		}
	}
	o := caller(agent, b.t.Output())
	o.Defaults.HTTP.Protocol = policy.HTTP2 // a moment without answers must not become hundreds of handshakes
	if agent == "" {
		o.Discovery, o.Consul = known, mesh.ConsulOptions{}
	}
	b.mesh = b.join("caller", source, o)
	var err error
	if b.loads, err = loadsOf(b.mesh, b.service); err != nil {
		b.t.Fatal(err)
	}
	for _, l := range b.loads {
		b.await(20*time.Second, l.name+" answers", func() bool {
			ctx, cancel := context.WithTimeout(b.t.Context(), 5*time.Second)
			defer cancel()
			_, err := l.call(ctx)
			return err == nil
		})
	}
	for _, l := range b.loads {
		l.pace = 40 // it is about handshakes
		l.begin(b.t)
	}
}

// finish judges calls and handshakes: nobody was refused at either end.
func (b *border) finish(serials, issuers int) {
	b.t.Helper()
	b.stage.finish("certificates change under load: no call fails, nobody is refused")
	if s, i := b.passports.count(); s < serials || i < issuers {
		b.t.Errorf("%d certificates of %d issuers were seen, want %d and %d: the drill shows nothing", s, i, serials, issuers)
	}
	for _, m := range b.members {
		for _, r := range m.TLS().Refused {
			b.t.Errorf("the %s refused %d peers: %s", r.Role, r.Count, r.Reason)
		}
	}
	s, i := b.passports.count()
	b.t.Logf("%d certificates of %d issuers were seen", s, i)
}

// Every few seconds there is a new certificate, made in memory. No call fails.
func TestRotationInMemory(t *testing.T) {
	long(t)
	ca, err := tlsutil.NewDevCA(tlsutil.DevCAOptions{LeafLifetime: 6 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	b := &border{stage: &stage{t: t, service: "web"}}
	b.play("", func(string) mesh.TLSOptions { return mesh.TLSOptions{DevCA: ca} })
	b.await(30*time.Second, "three certificates", func() bool { serials, _ := b.passports.count(); return serials >= 3 })
	b.finish(3, 1)
}

// The same with certificates in files, which somebody else renews.
func TestRotationOfFiles(t *testing.T) {
	long(t)
	ca, err := tlsutil.NewDevCA(tlsutil.DevCAOptions{LeafLifetime: 30 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	dirs := map[string]string{}
	b := &border{stage: &stage{t: t, service: "web"}}
	b.play("", func(service string) mesh.TLSOptions {
		dirs[service] = t.TempDir()
		o, err := ca.WriteFiles(dirs[service], service)
		if err != nil {
			t.Fatal(err)
		}
		o.Every, o.Log = 50*time.Millisecond, slog.New(slog.DiscardHandler)
		files, err := tlsutil.NewFiles(o)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = files.Close() })
		return mesh.TLSOptions{Source: files}
	})
	for seen := 1; seen < 6; {
		for service, dir := range dirs {
			if _, err := ca.WriteFiles(dir, service); err != nil {
				t.Fatal(err)
			}
		}
		b.await(20*time.Second, "a new certificate", func() bool {
			serials, _ := b.passports.count()
			more := serials > seen
			seen = max(seen, serials)
			return more
		})
	}
	b.finish(6, 1)
}
