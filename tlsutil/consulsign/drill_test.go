package consulsign_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"

	"github.com/innermesh/innermesh/internal/consultest"
	"github.com/innermesh/innermesh/tlsutil"
	"github.com/innermesh/innermesh/tlsutil/consulsign"
)

// load is callers of servers by HTTP and gRPC, each call on a connection of its
// own, so that certificates are shown with each.
type load struct {
	t              *testing.T
	client, server *tls.Config

	http, grpc string // addresses
	calls      atomic.Int64
	failed     atomic.Int64

	mu      sync.Mutex
	serials map[string]bool
	issuers map[string]bool
}

func newLoad(t *testing.T, client, server *consulsign.Source) *load {
	t.Helper()
	l := &load{
		t:       t,
		client:  tlsutil.ClientConfig(client, tlsutil.AuthorizeService("stock"), tlsutil.Options{}),
		server:  tlsutil.ServerConfig(server, tlsutil.AuthorizeService("web"), tlsutil.Options{}),
		serials: map[string]bool{}, issuers: map[string]bool{},
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.http = listener.Addr().String()
	web := &http.Server{
		ReadHeaderTimeout: time.Minute, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError),
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			leaf := r.TLS.PeerCertificates[0]
			l.mu.Lock()
			l.serials[leaf.SerialNumber.String()] = true
			l.issuers[string(leaf.AuthorityKeyId)] = true
			l.mu.Unlock()
			_, _ = io.WriteString(w, "a")
		}),
	}
	var serving sync.WaitGroup
	serving.Go(func() { _ = web.Serve(tls.NewListener(listener, l.server)) })

	another, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.grpc = another.Addr().String()
	rpc := grpc.NewServer(grpc.Creds(credentials.NewTLS(l.server)))
	grpc_health_v1.RegisterHealthServer(rpc, health.NewServer())
	serving.Go(func() { _ = rpc.Serve(another) })
	t.Cleanup(func() { _ = web.Close(); rpc.Stop(); serving.Wait() })
	return l
}

// run calls until the returned function is called.
func (l *load) run() (stop func()) {
	done := make(chan struct{})
	var running sync.WaitGroup
	for _, call := range []func(context.Context) error{l.callHTTP, l.callGRPC} {
		running.Go(func() {
			pace := time.NewTicker(20 * time.Millisecond)
			defer pace.Stop()
			for {
				select {
				case <-done:
					return
				case <-pace.C:
				}
				ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
				l.calls.Add(1)
				if err := call(ctx); err != nil && l.failed.Add(1) <= 5 {
					l.t.Error(err)
				}
				cancel()
			}
		})
	}
	return func() { close(done); running.Wait() }
}

func (l *load) callHTTP(ctx context.Context) error {
	transport := &http.Transport{TLSClientConfig: l.client.Clone(), ForceAttemptHTTP2: true}
	defer transport.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+l.http, http.NoBody)
	if err != nil {
		return err
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return errors.Join(err, resp.Body.Close())
}

func (l *load) callGRPC(ctx context.Context) error {
	conn, err := grpc.NewClient("passthrough:///"+l.grpc, grpc.WithTransportCredentials(credentials.NewTLS(l.client)))
	if err != nil {
		return err
	}
	_, err = grpc_health_v1.NewHealthClient(conn).Check(ctx, &grpc_health_v1.HealthCheckRequest{})
	return errors.Join(err, conn.Close())
}

// goOn waits for so many more calls.
func (l *load) goOn(calls int64) {
	want := l.calls.Load() + calls
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for l.calls.Load() < want {
		<-tick.C
	}
}

// seen is how many certificates of how many issuers the server has seen.
func (l *load) seen() (serials, issuers int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.serials), len(l.issuers)
}

// Certificates are renewed all the time, the root changes, the server restarts, and
// certificates are renewed again. No call fails.
func TestRotationUnderLoad(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes half a minute")
	}
	agent := consultest.Start(t, consultest.Options{Persistent: true})
	o, o2 := of(agent, "web"), of(agent, "stock")
	o.Smear, o2.Smear = 6*time.Second, 6*time.Second
	web, stock := start(t, o), start(t, o2)
	ready(t, web)
	ready(t, stock)
	l := newLoad(t, web, stock)
	stop := l.run()
	renew := func() {
		for range 8 {
			for _, s := range []*consulsign.Source{web, stock} {
				before := ready(t, s)
				s.Renew()
				until(t, s, other(before))
			}
			l.goOn(20)
		}
	}
	renew()
	client, err := agent.Client()
	if err != nil {
		t.Fatal(err)
	}
	before := []*tlsutil.Identity{ready(t, web), ready(t, stock)}
	if _, err := client.Connect().CASetConfig(&api.CAConfig{
		Provider: "consul", Config: map[string]any{"PrivateKeyType": "ec", "PrivateKeyBits": 384, "LeafCertTTL": "1h", "CSRMaxPerSecond": 0},
	}, nil); err != nil {
		t.Fatal(err)
	}
	until(t, web, other(before[0]))
	until(t, stock, other(before[1]))
	agent.Kill()
	web.Renew() // nobody answers
	if err := agent.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	renew()
	stop()
	serials, issuers := l.seen()
	t.Logf("%d calls, %d failed; %d certificates of %d issuers were shown to the server", l.calls.Load(), l.failed.Load(), serials, issuers)
	if serials < 12 || issuers < 2 || l.calls.Load() < 100 {
		t.Error("the drill shows nothing")
	}
	if left := time.Until(ready(t, web).NotAfter()); left > time.Hour {
		t.Errorf("the certificate lives for %s, its time to live is the least there is, 1h", left)
	}
}
