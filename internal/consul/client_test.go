package consul

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/innermesh/innermesh/internal/consultest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(consultest.Main(m)) }

// echo answers with what it was asked.
func echo(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Consul-Index", "5")
	user, _, _ := r.BasicAuth()
	asked := []string{r.Method, r.Proto, r.URL.RequestURI(), r.Header.Get("X-Consul-Token"), user}
	_ = json.NewEncoder(w).Encode(asked) //nolint:errchkjson // strings
}

func ask(t *testing.T, c *Client, path string) []string {
	t.Helper()
	r, err := c.Get(t.Context(), path, nil)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	if err := json.Unmarshal(r.Body, &got); err != nil || len(got) != 5 {
		t.Fatalf("answer %s: %v", r.Body, err)
	}
	return got
}

func TestAddresses(t *testing.T) {
	clearEnv(t)
	plain := httptest.NewServer(http.HandlerFunc(echo))
	defer plain.Close()
	secure := httptest.NewUnstartedServer(http.HandlerFunc(echo))
	secure.EnableHTTP2 = true
	secure.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	secure.StartTLS()
	defer secure.Close()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw})
	if err := os.WriteFile(ca, block, 0o600); err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(t.TempDir(), "s")
	ln, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	local := &http.Server{Handler: http.HandlerFunc(echo), ReadHeaderTimeout: time.Second}
	go func() { _ = local.Serve(ln) }()
	defer local.Close()

	host := plain.Listener.Addr().String()
	for _, c := range []struct {
		options          Options
		env, value       string
		wantProto, wantP string
	}{
		{Options{Address: host}, "", "", "HTTP/1.1", "/v1/x"},
		{Options{Address: "http://" + host}, "", "", "HTTP/1.1", "/v1/x"},
		{Options{Address: "http://" + host + "/consul/"}, "", "", "HTTP/1.1", "/consul/v1/x"},
		{Options{}, "CONSUL_HTTP_ADDR", host, "HTTP/1.1", "/v1/x"},
		{Options{Address: "unix://" + socket}, "", "", "HTTP/1.1", "/v1/x"},
		{Options{Address: secure.URL, TLS: TLS{CAFile: ca}}, "", "", "HTTP/2.0", "/v1/x"},
		{Options{Address: secure.Listener.Addr().String(), TLS: TLS{CAFile: ca}}, "CONSUL_HTTP_SSL", "true", "HTTP/2.0", "/v1/x"},
		{Options{Address: secure.URL}, "CONSUL_CACERT", ca, "HTTP/2.0", "/v1/x"},
		{Options{Address: host, Datacenter: "dc2", Namespace: "n", Partition: "p"}, "", "", "HTTP/1.1", "/v1/x?dc=dc2&ns=n&partition=p"},
	} {
		t.Run(c.env+c.options.Address, func(t *testing.T) {
			if c.env != "" {
				t.Setenv(c.env, c.value)
			}
			got := ask(t, newClient(t, c.options), "/v1/x")
			if got[1] != c.wantProto || got[2] != c.wantP {
				t.Errorf("asked %s over %s, want %s over %s", got[2], got[1], c.wantP, c.wantProto)
			}
		})
	}
	c := newClient(t, Options{Address: secure.URL})
	if _, err := c.Get(t.Context(), "/v1/x", nil); !errors.Is(err, ErrUnreachable) {
		t.Errorf("an unknown certificate: %v", err)
	}
}

func TestTokenPrecedence(t *testing.T) {
	clearEnv(t)
	server := httptest.NewServer(http.HandlerFunc(echo))
	defer server.Close()
	dir := t.TempDir()
	file := func(name string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(name+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	mine, env := file("of-file"), file("of-env-file")
	for _, c := range []struct {
		o                 Options
		envToken, envFile string
		want              string
	}{
		{Options{}, "", "", ""},
		{Options{}, "of-env", "", "of-env"},
		{Options{}, "of-env", env, "of-env-file"},
		{Options{Token: "mine"}, "of-env", env, "mine"},
		{Options{TokenFile: mine}, "of-env", env, "of-file"},
		{Options{TokenFile: mine}, "of-env", "", "of-file"},
	} {
		t.Setenv("CONSUL_HTTP_TOKEN", c.envToken)
		t.Setenv("CONSUL_HTTP_TOKEN_FILE", c.envFile)
		c.o.Address = server.URL
		if got := ask(t, newClient(t, c.o), "/v1/x")[3]; got != c.want {
			t.Errorf("%+v with %q, %q in the environment: token %q, want %q", c.o, c.envToken, c.envFile, got, c.want)
		}
	}
	t.Setenv("CONSUL_HTTP_AUTH", "user:word")
	if got := ask(t, newClient(t, Options{Address: server.URL}), "/v1/x")[4]; got != "user" {
		t.Errorf("basic auth as %q", got)
	}
}

func TestValidateNamesEveryFault(t *testing.T) {
	_, err := New(Options{
		Address: "ftp://x", Token: "s3cret", TokenFile: "/does/not/exist", TLS: TLS{CertFile: "c"},
		Wait: time.Hour, MaxBody: -1,
	})
	for _, part := range []string{"Address:", "Token:", "TokenFile:", "TLS:", "Wait:", "MaxBody:"} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%v does not name %s", err, part)
		}
	}
	if err != nil && strings.Contains(err.Error(), "s3cret") {
		t.Errorf("the token is in %v", err)
	}
	if _, err := New(Options{Address: "https://h", TLS: TLS{CAFile: "/does/not/exist"}}); err == nil {
		t.Error("a missing CA file was accepted")
	}
	if _, err := New(Options{Address: "http:///x"}); err == nil {
		t.Error("an address without a host was accepted")
	}
}

func TestNoTokenForWhoeverRedirects(t *testing.T) {
	clearEnv(t)
	var asked atomic.Int32
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	defer elsewhere.Close()
	server := httptest.NewServer(http.RedirectHandler(elsewhere.URL, http.StatusTemporaryRedirect))
	defer server.Close()
	_, err := newClient(t, Options{Address: server.URL, Token: "t"}).Get(t.Context(), "/v1/x", nil)
	if status, ok := errors.AsType[*StatusError](err); !ok || status.Code != 307 || asked.Load() != 0 {
		t.Errorf("got %v, %d requests elsewhere", err, asked.Load())
	}
}

func TestPut(t *testing.T) {
	clearEnv(t)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/v1/ok":
			var body map[string]int
			if r.Method != http.MethodPut || json.NewDecoder(r.Body).Decode(&body) != nil || body["a"] != 1 {
				w.WriteHeader(http.StatusBadRequest)
			}
		case "/v1/echo":
			w.WriteHeader(http.StatusForbidden)
			_, _ = w.Write([]byte(strings.Repeat("x", 290) + r.Header.Get("X-Consul-Token")))
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	defer server.Close()
	c := newClient(t, Options{Address: server.URL, Token: "5ecret-and-long"})
	if err := c.Put(t.Context(), "/v1/ok", nil, map[string]int{"a": 1}); err != nil {
		t.Error(err)
	}
	if status, ok := errors.AsType[*StatusError](c.Put(t.Context(), "/v1/none", nil, nil)); !ok || status.Code != 404 {
		t.Errorf("404: %v", status)
	}
	err := c.Put(t.Context(), "/v1/echo", nil, nil)
	if !errors.Is(err, ErrPermission) || strings.Contains(err.Error(), "5ecret") {
		t.Errorf("403: %v", err)
	}
	if err := c.Put(t.Context(), "/v1/ok", nil, func() {}); err == nil {
		t.Error("a body that is no JSON was accepted")
	}
	server.Close()
	if err := c.Put(t.Context(), "/v1/ok", nil, nil); !errors.Is(err, ErrUnreachable) {
		t.Errorf("closed server: %v", err)
	}
}

func TestHangingAgentThenClose(t *testing.T) {
	clearEnv(t)
	fastest := time.Hour
	for range 5 { // a busy machine may delay one of them
		fastest = min(fastest, closeWhileHanging(t))
	}
	if fastest > 100*time.Millisecond {
		t.Errorf("Close took %v", fastest)
	}
}

// closeWhileHanging says how long it takes to close a client whose agent is silent.
func closeWhileHanging(t *testing.T) time.Duration {
	t.Helper()
	asked, release := make(chan struct{}), make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		close(asked)
		<-release
	}))
	defer server.Close()
	defer close(release)
	c := newClient(t, Options{Address: server.URL})
	done := make(chan error, 1)
	go func() { done <- c.Watch(context.Background(), web, func(r Result) { t.Errorf("told %+v", r) }) }()
	<-asked
	start := time.Now()
	c.Close()
	if err := <-done; !errors.Is(err, ErrClosed) {
		t.Errorf("Watch returned %v", err)
	}
	return time.Since(start)
}

func TestDatacenter(t *testing.T) {
	clearEnv(t)
	self := http.StatusInternalServerError
	asked := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		if r.URL.Path == "/v1/agent/self" {
			w.WriteHeader(self)
			_, _ = w.Write([]byte(`{"Config":{"Datacenter":"here"}}`))
			return
		}
		_, _ = w.Write([]byte(`["near","far"]`))
	}))
	defer server.Close()
	c := newClient(t, Options{Address: server.URL})
	if dc, err := c.Datacenter(t.Context()); err == nil {
		t.Errorf("got %q of a 500", dc)
	}
	self = http.StatusForbidden
	if dc, err := c.Datacenter(t.Context()); err != nil || dc != "near" {
		t.Errorf("without agent:read: %q, %v", dc, err)
	}
	before := asked
	if dc, _ := c.Datacenter(t.Context()); dc != "near" || asked != before {
		t.Error("asked again although known")
	}
	self = http.StatusOK
	if dc, err := newClient(t, Options{Address: server.URL}).Datacenter(t.Context()); err != nil || dc != "here" {
		t.Errorf("with agent:read: %q, %v", dc, err)
	}
}

func TestAddressHasNoPassword(t *testing.T) {
	t.Setenv("CONSUL_HTTP_ADDR", "https://me:secret@consul.example:8501/base")
	c, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if got := c.Address(); got != "consul.example:8501/base" {
		t.Errorf("got %s", got)
	}
}
