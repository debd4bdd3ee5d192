package grpcadapter

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/serviceconfig"

	"github.com/innermesh/innermesh/deadletter"
	"github.com/innermesh/innermesh/discovery"
	"github.com/innermesh/innermesh/idempotency"
	"github.com/innermesh/innermesh/internal/telemetry"
	"github.com/innermesh/innermesh/internal/upstream"
	"github.com/innermesh/innermesh/policy"
)

func TestPushback(t *testing.T) {
	for v, want := range map[string]time.Duration{
		"0": 0, "25": 25 * time.Millisecond, "2147483647": 2147483647 * time.Millisecond, "007": 7 * time.Millisecond,
		"": -1, "-1": -1, "soon": -1, "1.5": -1, "2147483648": -1,
	} {
		if wait, stop := pushback(v); stop != (want < 0) || wait != max(want, 0) {
			t.Errorf("%q: wait %v, stop %v; want %v", v, wait, stop, want)
		}
	}
}

func FuzzPushback(f *testing.F) {
	for _, v := range []string{"0", "25", "-1", "", "9999999999", "1e3", "+5"} {
		f.Add(v)
	}
	f.Fuzz(func(t *testing.T, v string) {
		wait, stop := pushback(v)
		if wait < 0 || wait > 0 && stop || wait%time.Millisecond != 0 {
			t.Errorf("%q: wait %v, stop %v", v, wait, stop)
		}
	})
}

// Whatever target the resolver takes, the interceptors see the same service.
func FuzzTarget(f *testing.F) {
	for _, v := range []string{
		"mesh:///payments", "mesh:///Payments", "mesh:///pay%6Dents", "mesh:///payments?a=b", "mesh:///payments#x", "mesh:///a/b",
		"mesh://host/payments", "mesh:payments", "mesh:///", "mesh:///a:80", "MESH:///payments", "dns:///payments", "%", "mesh:///%",
	} {
		f.Add(v)
	}
	d := directoryOf(f)
	f.Fuzz(func(t *testing.T, dialled string) {
		parsed, err := url.Parse(dialled)
		if err != nil || parsed.Scheme != Scheme { // gRPC looks elsewhere
			return
		}
		target := resolver.Target{URL: *parsed}
		r, err := (&resolverBuilder{d}).Build(target, deaf{}, resolver.BuildOptions{})
		if err != nil {
			return
		}
		defer r.Close()
		want := r.(*meshResolver).upstream.Service
		if want == "" || want != strings.ToLower(want) || strings.ContainsAny(want, "/:") {
			t.Errorf("%q: resolved as %q", dialled, want)
		}
		if got, ok := cutTarget(dialled); ok && isPlain(got) && got != want {
			t.Errorf("%q: dialled for %q, resolved as %q", dialled, got, want)
		}
		if got, ok := cutTarget(target.String()); !ok || got != want {
			t.Errorf("%q: the canonical target is of %q (%v), resolved as %q", dialled, got, ok, want)
		}
	})
}

// deaf is a client connection that takes whatever it is told.
type deaf struct{ resolver.ClientConn }

func (deaf) UpdateState(resolver.State) error { return errors.New("not now") }

func (deaf) ParseServiceConfig(string) *serviceconfig.ParseResult { return nil }

func FuzzIdempotency(f *testing.F) {
	for _, v := range []string{"/grpc.health.v1.Health/Check", "/a/b", "", "/", "//", "/google.protobuf.MethodOptions/x", "/\xff/\x00", "idempotency-key"} {
		f.Add(v)
	}
	f.Fuzz(func(t *testing.T, v string) {
		if once, twice := declaredIdempotent(v), declaredIdempotent(v); once != twice {
			t.Errorf("%q is idempotent: %v, then %v", v, once, twice)
		}
		ctx := metadata.AppendToOutgoingContext(context.Background(), v, "1")
		if got := keyed(ctx); got != (strings.ToLower(v) == "idempotency-key") {
			t.Errorf("%q is a key: %v", v, got)
		}
	})
}

// directoryOf knows every service, and that none has instances.
func directoryOf(tb testing.TB) *upstream.Directory {
	tb.Helper()
	tel, err := telemetry.New(telemetry.Options{}, "test")
	if err != nil {
		tb.Fatal(err)
	}
	d := upstream.NewDirectory(upstream.Options{
		Source: new(discovery.Memory), Telemetry: tel, Logger: slog.New(slog.DiscardHandler),
		Provisional: func(string) policy.Effective { return policy.Merge(policy.Layer{Service: policy.Default()}) },
		Follow:      func(*upstream.Upstream) {},
	})
	tb.Cleanup(d.Close)
	return d
}

// Whatever is in a letter, gRPC's own names are not sent from it, and its key is.
func FuzzUnpackLetter(f *testing.F) {
	f.Add("x-shop", "7", "application/grpc+json", "key")
	f.Add("Grpc-Timeout", "1S", "application/json", "")
	f.Add(":authority", "evil", "", "a")
	f.Add("idempotency-key", "another", "application/grpc+", `"k"`)
	f.Fuzz(func(t *testing.T, name, value, kind, key string) {
		l := deadletter.Letter{Header: http.Header{name: {value}, "content-type": {kind}}, Key: key}
		md, subtype := unpack(&l)
		for name := range md {
			if reserved(name) || name != strings.ToLower(name) {
				t.Errorf("sends %q", name)
			}
		}
		if got := md.Get(idempotency.Metadata); len(got) != 1 || got[0] != key {
			t.Errorf("sends the key %q, want %q", got, key)
		}
		if rest, ok := strings.CutPrefix(kind, grpcType); ok && name != "content-type" && subtype != rest {
			t.Errorf("%q is sent as %q", kind, subtype)
		}
	})
}

func FuzzSpell(f *testing.F) {
	for _, key := range []string{"order-42", `a "b" \`, " ", "a,b", `"quoted"`} {
		f.Add(key)
	}
	f.Fuzz(func(t *testing.T, key string) {
		if idempotency.CheckKey(key) != nil {
			return
		}
		if read, err := idempotency.ParseKey(spell(key)); err != nil || read != key {
			t.Errorf("%q is read as %q: %v", key, read, err)
		}
	})
}
