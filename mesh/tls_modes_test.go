package mesh_test

import (
	"crypto/tls"
	"errors"
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
	"google.golang.org/grpc/interop/grpc_testing"

	"github.com/innermesh/innermesh/mesh"
	"github.com/innermesh/innermesh/policy"
	"github.com/innermesh/innermesh/tlsutil"
)

// One port takes both while programs move, and says who is still behind.
func TestTLSPermissive(t *testing.T) {
	ca, log := devCA(t), &logged{}
	p := &payments{}
	server := developed(t, ca, "payments", mesh.Options{Logger: log.logger(), TLS: mesh.TLSOptions{Mode: mesh.TLSPermissive}})
	web, rpc := servedHTTP(t, server, http.HandlerFunc(whoCalls)), servedGRPC(t, server, p)
	plain := newMesh(t, mesh.Options{Discovery: addresses{"web": {web}, "payments": {rpc}}})
	secured := developed(t, ca, "shop", mesh.Options{Discovery: addresses{"payments": {web}}})
	for range 2 {
		if got, err := bodyOf(plain.HTTPClient(), "http://web/"); err != nil || got != "200 HTTP/1.1 nobody" {
			t.Errorf("in plain text: %q, %v", got, err)
		}
		if got, err := bodyOf(secured.HTTPClient(), "http://payments/"); err != nil || !strings.HasSuffix(got, "/svc/shop") {
			t.Errorf("secured: %q, %v", got, err)
		}
	}
	// HTTP/2 in plain text, which nobody has negotiated.
	h2 := newMesh(t, mesh.Options{Discovery: addresses{"web": {web}}, Defaults: policy.Service{HTTP: policy.HTTP{Protocol: policy.HTTP2}}})
	if got, err := bodyOf(h2.HTTPClient(), "http://web/"); err != nil || got != "200 HTTP/2.0 nobody" {
		t.Errorf("HTTP/2 in plain text: %q, %v", got, err)
	}
	if _, err := dialled(t, plain).UnaryCall(limited(t), &grpc_testing.SimpleRequest{}); err != nil {
		t.Error(err)
	}
	status := server.TLS()
	if status.Mode != mesh.TLSPermissive || status.Plaintext < 3 || len(status.Refused) > 0 {
		t.Errorf("%+v", status)
	}
	if n := log.count("plain text"); n != 1 {
		t.Errorf("one address in plain text was logged %d times", n)
	}
}

// Each step of the way to TLS is taken by one program after the other, and
// whoever calls whom meanwhile is answered.
func TestTLSMigration(t *testing.T) {
	ca := devCA(t)
	steps := []mesh.TLSOptions{
		{},
		{DevCA: ca, Mode: mesh.TLSPermissive, PlainCalls: true},
		{DevCA: ca, Mode: mesh.TLSPermissive},
		{DevCA: ca},
	}
	program := func(o mesh.TLSOptions, service, calls, at string) *mesh.Mesh {
		m, err := mesh.New(t.Context(), mesh.Options{
			Service: service, Discovery: addresses{calls: {at}}, TLS: o, Logger: slog.New(slog.DiscardHandler),
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = m.Close(t.Context()) })
		return m
	}
	for client := range steps {
		for server := range steps {
			if client-server > 1 || server-client > 1 {
				continue // they are never that far apart
			}
			addr := servedHTTP(t, program(steps[server], "stock", "x", ""), http.HandlerFunc(whoCalls))
			got, err := bodyOf(program(steps[client], "shop", "stock", addr).HTTPClient(), "http://stock/")
			if err != nil || strings.HasSuffix(got, "/svc/shop") != (client >= 2) {
				t.Errorf("step %d calls step %d: %q, %v", client, server, got, err)
			}
		}
	}
}

func TestTLSOff(t *testing.T) {
	m := developed(t, devCA(t), "stock", mesh.Options{TLS: mesh.TLSOptions{Mode: mesh.TLSOff}})
	if m.Certificates() != nil || m.TLS().Mode != mesh.TLSOff {
		t.Errorf("%v, %+v", m.Certificates(), m.TLS())
	}
	if _, err := m.ServerTLSConfig(); !errors.Is(err, mesh.ErrPlainText) {
		t.Errorf("got %v", err)
	}
	addr := servedHTTP(t, m, http.HandlerFunc(whoCalls))
	if got, err := bodyOf(newMesh(t, mesh.Options{Discovery: addresses{"stock": {addr}}}).HTTPClient(), "http://stock/"); err != nil || got != "200 HTTP/1.1 nobody" {
		t.Errorf("%q, %v", got, err)
	}
}

// A strict port takes nobody in plain text, and nobody of old.
func TestTLSStrict(t *testing.T) {
	ca := devCA(t)
	server := developed(t, ca, "stock", mesh.Options{})
	addr := servedHTTP(t, server, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("served") }))
	rpc := servedGRPC(t, server, &payments{})
	if _, err := new(tls.Dialer).Dial("tcp", addr); err == nil {
		t.Error("without a certificate")
	}
	old := tlsutil.ClientConfig(identity(t, ca, "shop"), tlsutil.AuthorizeAny(), tlsutil.Options{Terms: tlsutil.Terms{MaxVersion: tls.VersionTLS12}})
	if _, err := tls.Dial("tcp", addr, old); err == nil {
		t.Error("TLS 1.2 was spoken")
	}
	if got, err := bodyOf(newMesh(t, mesh.Options{Discovery: addresses{"stock": {addr}}}).HTTPClient(), "http://stock/"); err != nil || !strings.HasPrefix(got, "400 ") {
		t.Errorf("in plain text: %q, %v", got, err)
	}
	conn, err := grpc.NewClient(rpc, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := grpc_testing.NewTestServiceClient(conn).UnaryCall(limited(t), &grpc_testing.SimpleRequest{}); err == nil {
		t.Error("gRPC in plain text")
	}
	eventually(t, 10*time.Second, "both are counted", func() bool {
		return refusals(server, "server", tlsutil.ReasonVersion) == 1 && refusals(server, "server", tlsutil.ReasonPlaintext) >= 2
	})
}

// Many peers who are slow on purpose keep nobody else waiting for long.
func TestListenSlowPeers(t *testing.T) {
	ca := devCA(t)
	server := developed(t, ca, "stock", mesh.Options{TLS: mesh.TLSOptions{Handshakes: 8, HandshakeTimeout: time.Second}})
	addr := servedHTTP(t, server, http.HandlerFunc(whoCalls))
	shop := developed(t, ca, "shop", mesh.Options{Discovery: addresses{"stock": {addr}}})
	var slow sync.WaitGroup
	for n := range 40 {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		slow.Go(func() {
			defer conn.Close()
			_, _ = conn.Write([]byte{22, 3, 1, 2, 0, 1}[:n%6])
			_, _ = io.Copy(io.Discard, conn) // until it is hung up on
		})
	}
	begin := time.Now()
	if got, err := bodyOf(shop.HTTPClient(), "http://stock/"); err != nil || !strings.HasSuffix(got, "/svc/shop") {
		t.Errorf("%q, %v", got, err)
	}
	t.Logf("served after %s", time.Since(begin))
	slow.Wait()
	eventually(t, 10*time.Second, "all 40 are counted", func() bool {
		return refusals(server, "server", tlsutil.ReasonCrowded)+refusals(server, "server", tlsutil.ReasonTimeout) == 40
	})
	if refusals(server, "server", tlsutil.ReasonCrowded) < 32 {
		t.Errorf("%+v", server.TLS().Refused)
	}
}

// A server that makes its own handshakes.
func TestServerTLSConfig(t *testing.T) {
	ca := devCA(t)
	m := developed(t, ca, "stock", mesh.Options{})
	config, err := m.ServerTLSConfig()
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{
		Handler: m.Middleware(http.HandlerFunc(whoCalls)), ReadHeaderTimeout: 10 * time.Second, TLSConfig: config,
		ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError),
	}
	done := make(chan struct{})
	go func() { defer close(done); _ = s.ServeTLS(l, "", "") }()
	defer func() { _ = s.Close(); <-done }()
	for protocol, want := range map[string]string{policy.HTTP1: "HTTP/1.1", policy.HTTP2: "HTTP/2.0"} {
		shop := developed(t, ca, "shop", mesh.Options{
			Discovery: addresses{"stock": {l.Addr().String()}}, Defaults: policy.Service{HTTP: policy.HTTP{Protocol: protocol}},
		})
		if got, err := bodyOf(shop.HTTPClient(), "http://stock/"); err != nil || got != "200 "+want+" /ns/default/dc/dc1/svc/shop" {
			t.Errorf("%q, %v", got, err)
		}
	}
	stranger := tlsutil.ClientConfig(identity(t, devCA(t), "shop"), tlsutil.AuthorizeAny(), tlsutil.Options{})
	stranger.VerifyConnection = nil
	conn, err := tls.Dial("tcp", l.Addr().String(), stranger)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Read(make([]byte, 1)); err == nil {
		t.Error("a stranger was let in")
	}
	if got := refusals(m, "server", tlsutil.ReasonUntrusted); got != 1 {
		t.Errorf("%+v", m.TLS().Refused)
	}
}

// The listener ends with the mesh, whoever accepts.
func TestListenEndsWithTheMesh(t *testing.T) {
	m := developed(t, devCA(t), "stock", mesh.Options{})
	l := listened(t, m)
	var accepting sync.WaitGroup
	accepting.Go(func() {
		if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("got %v", err)
		}
	})
	if err := m.Close(t.Context()); err != nil {
		t.Error(err)
	}
	accepting.Wait()
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if _, err := m.Listen(t.Context(), "127.0.0.1:0"); !errors.Is(err, mesh.ErrClosed) {
		t.Errorf("a mesh that is closed listens: %v", err)
	}
	if _, err := newMesh(t, mesh.Options{Discovery: addresses{}}).Listen(t.Context(), "nowhere"); err == nil {
		t.Error("an address that is none")
	}
}

func TestTLSOptionsValidate(t *testing.T) {
	ca := devCA(t)
	for field, o := range map[string]mesh.TLSOptions{
		"TLS":                  {DevCA: ca, Consul: true},
		"TLS.Mode":             {Mode: "lax", DevCA: ca},
		"TLS.PlainCalls":       {DevCA: ca, PlainCalls: true},
		"TLS.HandshakeTimeout": {HandshakeTimeout: -1},
		"TLS.Handshakes":       {Handshakes: -1},
	} {
		_, err := mesh.New(t.Context(), mesh.Options{Service: "shop", Discovery: addresses{}, TLS: o})
		if e, ok := errors.AsType[*mesh.OptionError](err); !ok || e.Field != field {
			t.Errorf("%s: got %v", field, err)
		}
	}
	if _, err := mesh.New(t.Context(), mesh.Options{Service: "shop", Discovery: addresses{}, TLS: mesh.TLSOptions{Mode: mesh.TLSStrict}}); err == nil {
		t.Error("strict without an identity")
	}
}
