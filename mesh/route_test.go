package mesh_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"

	"github.com/innermesh/innermesh/discovery"
	"github.com/innermesh/innermesh/mesh"
	"github.com/innermesh/innermesh/policy"
)

// echo answers with the request line and the headers that begin with X-, and
// tells where it was.
func echo(name string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-From", name)
		w.Header().Set("X-Secret", "s")
		fmt.Fprintf(w, "%s %s %s %s", name, r.Method, r.Host, r.RequestURI)
		var names []string
		for h := range r.Header {
			if strings.HasPrefix(h, "X-") {
				names = append(names, h)
			}
		}
		slices.Sort(names)
		for _, h := range names {
			fmt.Fprintf(w, " %s=%s", h, strings.Join(r.Header[h], ","))
		}
	}
}

// routed is a mesh in which calls to web take these routes.
func routed(t *testing.T, source discovery.Static, routes ...policy.Route) *mesh.Mesh {
	t.Helper()
	return newMesh(t, mesh.Options{Discovery: source, Pinned: map[string]policy.Service{"web": {Routes: routes}}})
}

func only(service string) []policy.Leg {
	return []policy.Leg{{Target: policy.Target{Service: service}}}
}

// What arrives is what the route makes of it; the caller's request stays as it is.
func TestRouteChangesRequestAndResponse(t *testing.T) {
	m := routed(t, discovery.Static{"web": {web(t, echo("old"))}, "next": {web(t, echo("next"))}},
		policy.Route{
			Match:           policy.Match{PathPrefix: "/v2/", Headers: []policy.HeaderMatch{{Name: "x-tenant", Exact: "acme"}}},
			To:              []policy.Leg{{Target: policy.Target{Service: "next"}, RequestHeaders: policy.Headers{Set: map[string]string{"x-leg": "1"}}}},
			Rewrite:         policy.Rewrite{Prefix: "/"},
			RequestHeaders:  policy.Headers{Remove: []string{"x-tenant"}, Add: map[string]string{"x-leg": "2"}},
			ResponseHeaders: policy.Headers{Remove: []string{"x-secret"}, Set: map[string]string{"x-via": "mesh"}},
		})
	req := request(t, http.MethodGet, "http://web/v2/a%2Fb?q=1", nil)
	req.Header.Set("X-Tenant", "acme")
	res, err := m.HTTPClient().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := read(t, res), "next GET web /a%2Fb?q=1 X-Leg=1,2"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if h := res.Header; h.Get("X-Secret") != "" || h.Get("X-Via") != "mesh" || h.Get("X-From") != "next" {
		t.Errorf("the caller gets %v", h)
	}
	if req.URL.Path != "/v2/a/b" || req.Header.Get("X-Leg") != "" || req.Header.Get("X-Tenant") != "acme" {
		t.Errorf("the caller's request has become %v %v", req.URL, req.Header)
	}
	other, err := page(t, m, "http://web/v2/x")
	if err != nil {
		t.Fatal(err)
	}
	if got := read(t, other); got != "old GET web /v2/x" {
		t.Errorf("without the header: %s", got)
	}
}

func TestRouteSplitsByWeight(t *testing.T) {
	m := routed(t, discovery.Static{"web": {web(t, echo("old"))}, "next": {web(t, echo("next"))}},
		policy.Route{To: []policy.Leg{{Weight: 90}, {Weight: 10, Target: policy.Target{Service: "next"}}}})
	got := map[string]int{}
	for range 1000 {
		res, err := page(t, m, "http://web/")
		if err != nil {
			t.Fatal(err)
		}
		got[res.Header.Get("X-From")]++
		read(t, res)
	}
	if got["next"] < 50 || got["next"] > 160 || got["old"]+got["next"] != 1000 {
		t.Errorf("went %v", got)
	}
}

// Who is called proves to be the target, not the name that was called.
func TestRouteToAnotherServiceIsSecured(t *testing.T) {
	ca := devCA(t)
	options := func(to string) mesh.Options {
		return mesh.Options{
			TLS:       mesh.TLSOptions{Source: identity(t, ca, "shop")},
			Discovery: discovery.Static{"web": {"127.0.0.1:1"}, "next": {secureWeb(t, ca, to, ok)}},
			Pinned:    map[string]policy.Service{"web": {Routes: []policy.Route{{To: only("next")}}}},
		}
	}
	res, err := page(t, newMesh(t, options("next")), "http://web/")
	if err != nil {
		t.Fatal(err)
	}
	read(t, res)
	if res, err := page(t, newMesh(t, options("web")), "http://web/"); err == nil {
		read(t, res)
		t.Error("an instance that is not the target was believed")
	}
}

func TestRouteFailsOver(t *testing.T) {
	m := routed(t, discovery.Static{"backup": {web(t, echo("backup"))}},
		policy.Route{To: []policy.Leg{{Target: policy.Target{Failover: []policy.Target{{Service: "backup"}}}}}})
	res, err := page(t, m, "http://web/")
	if err != nil {
		t.Fatal(err)
	}
	if got := read(t, res); got != "backup GET web /" {
		t.Error(got)
	}
}

func TestRoutesOfGRPC(t *testing.T) {
	var seen metadata.MD
	hear := func(ctx context.Context, _ int32) error {
		seen, _ = metadata.FromIncomingContext(ctx)
		return grpc.SetHeader(ctx, metadata.Pairs("x-secret", "s"))
	}
	old, next := &payments{unary: hear}, &payments{unary: hear}
	oldAddr, _ := old.start(t)
	nextAddr, _ := next.start(t)
	m := newMesh(t, mesh.Options{
		Discovery: discovery.Static{"payments": {oldAddr}, "next": {nextAddr}},
		Pinned: map[string]policy.Service{"payments": {Routes: []policy.Route{{
			Match: policy.Match{
				PathPrefix: "/grpc.testing.TestService/Unary", Methods: []string{"POST"},
				Headers: []policy.HeaderMatch{{Name: "X-Tenant", Prefix: "ac"}},
			},
			To:              only("next"),
			RequestHeaders:  policy.Headers{Remove: []string{"x-tenant"}, Set: map[string]string{"X-Via": "mesh"}},
			ResponseHeaders: policy.Headers{Remove: []string{"x-secret"}, Add: map[string]string{"x-via": "mesh"}},
		}}}},
	})
	stub := dialled(t, m)
	ctx := metadata.AppendToOutgoingContext(limited(t), "x-tenant", "acme")
	var header metadata.MD
	if _, err := stub.UnaryCall(ctx, &grpc_testing.SimpleRequest{}, grpc.Header(&header)); err != nil {
		t.Fatal(err)
	}
	if next.calls.Load() != 1 || len(seen.Get("x-tenant")) != 0 || !slices.Equal(seen.Get("x-via"), []string{"mesh"}) {
		t.Errorf("next has had %d calls, the last with %v", next.calls.Load(), seen)
	}
	if len(header.Get("x-secret")) != 0 || !slices.Equal(header.Get("x-via"), []string{"mesh"}) {
		t.Errorf("the caller gets %v", header)
	}
	if sent, _ := metadata.FromOutgoingContext(ctx); len(sent.Get("x-via")) != 0 {
		t.Error("the caller's metadata has changed")
	}
	if _, err := stub.UnaryCall(limited(t), &grpc_testing.SimpleRequest{}); err != nil || old.calls.Load() != 1 {
		t.Errorf("without the metadata: %v, old has had %d calls", err, old.calls.Load())
	}
}

// A plan with new targets reaches a connection that is in use.
func TestRoutesOfStreams(t *testing.T) {
	tell := func(s grpc.ServerStreamingServer[grpc_testing.StreamingOutputCallResponse], _ int32) error {
		if err := s.SetHeader(metadata.Pairs("x-secret", "s")); err != nil {
			return err
		}
		return s.Send(&grpc_testing.StreamingOutputCallResponse{})
	}
	next := &payments{down: tell}
	addr, _ := next.start(t)
	m := newMesh(t, mesh.Options{
		Discovery: discovery.Static{"next": {addr}},
		Pinned: map[string]policy.Service{"payments": {Routes: []policy.Route{{
			To: only("next"), ResponseHeaders: policy.Headers{Set: map[string]string{"x-secret": "none"}},
		}}}},
	})
	s, err := dialled(t, m).StreamingOutputCall(limited(t), &grpc_testing.StreamingOutputCallRequest{})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		md, err := s.Header()
		if err != nil || !slices.Equal(md.Get("x-secret"), []string{"none"}) {
			t.Errorf("header %v, %v", md, err)
		}
	}
	if _, err := s.Recv(); err != nil {
		t.Error(err)
	}
}

// Calls with the same key go to the same instance, and who has no key gets a
// cookie that leads it there again.
func TestRouteByHash(t *testing.T) {
	source := discovery.Static{"web": {web(t, echo("a")), web(t, echo("b")), web(t, echo("c"))}}
	for _, algorithm := range []string{policy.RingHash, policy.Maglev} {
		m := newMesh(t, mesh.Options{Discovery: source, Pinned: map[string]policy.Service{"web": {Balancer: policy.Balancer{
			Policy: algorithm, Hash: []policy.Hash{{Header: "x-user", Terminal: true}, {Cookie: "affinity", CookieTTL: policy.Duration(time.Hour), CookiePath: "/"}},
		}}}})
		from := func(name, value string) (string, *http.Response) {
			req := request(t, http.MethodGet, "http://web/", nil)
			req.Header.Set(name, value)
			res, err := m.HTTPClient().Do(req)
			if err != nil {
				t.Fatal(err)
			}
			read(t, res)
			return res.Header.Get("X-From"), res
		}
		seen := map[string]bool{}
		for user := range 50 {
			first, res := from("X-User", strconv.Itoa(user))
			seen[first] = true
			if again, _ := from("X-User", strconv.Itoa(user)); again != first || len(res.Cookies()) != 0 {
				t.Errorf("%s: user %d went to %s and %s, with cookies %v", algorithm, user, first, again, res.Cookies())
			}
		}
		if len(seen) != 3 {
			t.Errorf("%s: all users went to %v", algorithm, seen)
		}
		first, res := from("X-Other", "1")
		cookies := res.Cookies()
		if len(cookies) != 1 || cookies[0].Name != "affinity" || cookies[0].Path != "/" || cookies[0].MaxAge != 3600 {
			t.Fatalf("%s: cookies %v", algorithm, cookies)
		}
		for range 5 {
			if again, res := from("Cookie", cookies[0].String()); again != first || len(res.Cookies()) != 0 {
				t.Errorf("%s: the cookie of %s led to %s, which set %v", algorithm, first, again, res.Cookies())
			}
		}
	}
}

// An instance that fails several times in a row is taken out of rotation.
func TestRouteEjects(t *testing.T) {
	m := newMesh(t, mesh.Options{
		Discovery: discovery.Static{"web": {web(t, unavailable), web(t, ok), web(t, ok)}},
		Pinned: map[string]policy.Service{"web": {
			Breaker:  policy.Breaker{Open: policy.Off},
			Ejection: policy.Ejection{Failures: 3, Base: policy.Duration(time.Hour), Max: policy.Duration(time.Hour), MaxPercent: 34},
			Balancer: policy.Balancer{Policy: policy.RoundRobin},
		}},
	})
	for range 100 {
		res, err := page(t, m, "http://web/")
		if err != nil {
			t.Fatal(err)
		}
		read(t, res)
	}
	if n := failures(m); n != 3 {
		t.Errorf("the failing instance was asked %d times", n)
	}
}
