package mesh_test

import (
	"bufio"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/innermesh/innermesh/internal/consultest"
	"github.com/innermesh/innermesh/mesh"
)

// idp writes a provider of tokens, and returns how it makes them.
func idp(t *testing.T, agent *consultest.Agent) func(claims map[string]any) string {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	b64 := base64.RawURLEncoding.EncodeToString
	keys := fmt.Sprintf(`{"keys":[{"kty":"OKP","crv":"Ed25519","x":%q}]}`, b64(public))
	_, _, err = consulClient(t, agent).ConfigEntries().Set(&api.JWTProviderConfigEntry{
		Kind: api.JWTProvider, Name: "idp", Issuer: "https://idp", Forwarding: &api.JWTForwardingConfig{HeaderName: "x-claims"},
		JSONWebKeySet: &api.JSONWebKeySet{Local: &api.LocalJWKS{JWKS: base64.StdEncoding.EncodeToString([]byte(keys))}},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return func(claims map[string]any) string {
		claims["iss"], claims["exp"] = "https://idp", time.Now().Add(time.Hour).Unix()
		body, err := json.Marshal(claims)
		if err != nil {
			t.Fatal(err)
		}
		text := b64([]byte(`{"alg":"EdDSA"}`)) + "." + b64(body)
		return text + "." + b64(ed25519.Sign(private, []byte(text)))
	}
}

// A token lets in who else is not, over HTTP and gRPC, and handlers see what it
// says and not the token.
func TestAccessByToken(t *testing.T) {
	agent := consultest.Start(t, consultest.Options{})
	token := idp(t, agent)
	for _, service := range []string{"web", "payments"} {
		spoken(t, agent, service, "http")
		p := permitted("allow", "/")
		p.JWT = &api.IntentionJWTRequirement{Providers: []*api.IntentionJWTProvider{{
			Name: "idp", VerifyClaims: []*api.IntentionJWTClaimVerification{{Path: []string{"role"}, Value: "clerk"}},
		}}}
		intend(t, agent, service, "shop", "", p)
	}
	var log logged
	seen := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = fmt.Fprint(w, mesh.ClaimsFromContext(r.Context())["sub"], r.Header["Authorization"], len(r.Header["X-Claims"]),
			" ", r.URL.RawQuery, " ", r.RequestURI)
	})
	shop := identified(t, agent, "shop", mesh.Options{Discovery: addresses{
		"web":      {servedHTTP(t, secured(t, agent, "web", mesh.Options{}, &log), seen)},
		"payments": {servedGRPC(t, secured(t, agent, "payments", mesh.Options{}, &log), &payments{})},
	}})
	get := func(token string) (int, string) {
		r := request(t, http.MethodGet, "http://web/", nil)
		r.Header.Set("X-Claims", "forged")
		if token != "" {
			r.Header.Set("Authorization", "Bearer "+token)
		}
		res, err := shop.HTTPClient().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		return res.StatusCode, read(t, res)
	}
	good, other := token(map[string]any{"sub": "alice", "role": "clerk"}), token(map[string]any{"sub": "bob", "role": "guest"})
	eventually(t, patience, "the provider is known", func() bool { code, _ := get(good); return code == http.StatusOK })
	if _, body := get(good); body != "alice[] 1  /" {
		t.Errorf("the handler sees %s", body)
	}
	res, err := shop.HTTPClient().Do(request(t, http.MethodGet, "http://web/a?b=%20&access_token="+good+"&c", nil))
	if err != nil {
		t.Fatal(err)
	}
	if body := read(t, res); body != "alice[] 1 b=%20&c /a?b=%20&c" {
		t.Errorf("of a token in the query the handler sees %s", body)
	}
	for name, test := range map[string]struct {
		token string
		http  int
		grpc  codes.Code
	}{
		"good": {good, 200, codes.OK}, "none": {"", 401, codes.Unauthenticated}, "bad": {good[:len(good)-4], 401, codes.Unauthenticated},
		"another's": {other, 403, codes.PermissionDenied},
	} {
		if code, body := get(test.token); code != test.http || strings.Contains(body, "idp") {
			t.Errorf("%s: %d %s", name, code, body)
		}
		ctx := metadata.AppendToOutgoingContext(limited(t), "authorization", "Bearer "+test.token)
		eventually(t, patience, name+" over gRPC", func() bool { // it follows on its own
			_, err := dialled(t, shop).UnaryCall(ctx, &grpc_testing.SimpleRequest{})
			return status.Code(err) == test.grpc
		})
	}
	if log.count(good[:20]) > 0 {
		t.Error("the log has a token")
	}
}

// The ingress may say for whom it calls, others may not, and handlers never see
// what nobody vouches for.
func TestAccessForwarded(t *testing.T) {
	agent := consultest.Start(t, consultest.Options{})
	intend(t, agent, "web", "batch", "deny")
	var log logged
	web := secured(t, agent, "web", mesh.Options{Server: mesh.ServerOptions{Access: mesh.AccessOptions{Forwarders: []string{"ingress"}}}}, &log)
	found := addresses{"web": {servedHTTP(t, web, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, _ := mesh.CallerFromContext(r.Context())
		_, _ = io.WriteString(w, c.Service+" "+r.Header.Get("X-Forwarded-Client-Cert"))
	}))}}
	roots, _, err := consulClient(t, agent).Agent().ConnectCARoots(nil)
	if err != nil {
		t.Fatal(err)
	}
	uri := "URI=spiffe://" + roots.TrustDomain + "/ns/default/dc/dc1/svc/"
	for from, tests := range map[string]map[string]string{
		"ingress": {"": "200 ingress ", uri + "shop": "200 shop " + uri + "shop", uri + "batch": "403", "nonsense": "401"},
		"shop":    {"": "200 shop ", uri + "ingress": "200 shop ", "nonsense": "200 shop "},
		"batch":   {uri + "shop": "403"},
	} {
		m := identified(t, agent, from, mesh.Options{Discovery: found})
		for header, want := range tests {
			r := request(t, http.MethodGet, "http://web/", nil)
			if header != "" {
				r.Header.Set("X-Forwarded-Client-Cert", header)
			}
			res, err := m.HTTPClient().Do(r)
			if err != nil {
				t.Fatal(err)
			}
			if got := fmt.Sprint(res.StatusCode, " ", read(t, res)); !strings.HasPrefix(got, want) || strings.HasPrefix(want, "200") && got != want {
				t.Errorf("%s says %q: %s, want %s", from, header, got, want)
			}
		}
	}
}

// Requests that are made to be read in two ways, written by hand.
func TestAccessSmuggling(t *testing.T) {
	m := newMesh(t, mesh.Options{Discovery: addresses{}})
	s := muted(t, m.Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.URL.Path) })))
	conn := handWritten(t, s.Listener.Addr().String())
	if _, err := io.WriteString(conn, http2.ClientPreface); err != nil {
		t.Fatal(err)
	}
	f := http2.NewFramer(conn, bufio.NewReader(conn))
	var block strings.Builder
	e := hpack.NewEncoder(&block)
	for _, h := range [][2]string{{":method", "GET"}, {":scheme", "http"}, {":authority", "web"}, {":path", "/open"}, {":path", "/admin"}} {
		if err := e.WriteField(hpack.HeaderField{Name: h[0], Value: h[1]}); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.WriteSettings(); err != nil {
		t.Fatal(err)
	}
	if err := f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte(block.String()), EndHeaders: true, EndStream: true}); err != nil {
		t.Fatal(err)
	}
	for {
		frame, err := f.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		switch frame := frame.(type) {
		case *http2.RSTStreamFrame, *http2.GoAwayFrame:
			return // refused, by the protocol
		case *http2.HeadersFrame, *http2.DataFrame:
			t.Fatalf("two paths are answered: %v", frame)
		}
	}
}

func handWritten(t *testing.T, addr string) net.Conn {
	t.Helper()
	conn, err := new(net.Dialer).DialContext(limited(t), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(patience))
	return conn
}
