package mesh_test

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/innermesh/innermesh/call"
	"github.com/innermesh/innermesh/idempotency"
	"github.com/innermesh/innermesh/mesh"
	"github.com/innermesh/innermesh/policy"
)

// keys collects the keys that come to instances.
type keys struct {
	mu  sync.Mutex
	all []string
}

func (k *keys) add(values []string) (n int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.all = append(k.all, strings.Join(values, "+"))
	return len(k.all)
}

func (k *keys) taken() (all []string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	all, k.all = k.all, nil
	return all
}

// one is the only key that came, so often.
func (k *keys) one(t *testing.T, times int) string {
	t.Helper()
	all := k.taken()
	if len(all) != times || len(slices.Compact(slices.Clone(all))) != 1 {
		t.Fatalf("keys %q, want one key %d times", all, times)
	}
	return all[0]
}

func TestHTTPKeys(t *testing.T) {
	var got keys
	h := func(w http.ResponseWriter, r *http.Request) {
		if got.add(r.Header[idempotency.Header]) == 1 {
			hangUp(w, r)
		}
	}
	addrs := []string{web(t, h), web(t, h)}
	plain := newMesh(t, mesh.Options{Discovery: addresses{"web": addrs}}).HTTPClient()
	minting := newMesh(t, mesh.Options{
		Discovery: addresses{"web": addrs}, Defaults: policy.Service{Retry: policy.Retry{Key: policy.KeyMinted}},
	}).HTTPClient()
	for name, test := range map[string]struct {
		client  *http.Client
		method  string
		options call.Options
		header  string
		key     string // "?" is one that was minted
	}{
		"given":             {client: plain, method: "POST", options: call.Options{Key: `a "b" \`}, key: `"a \"b\" \\"`},
		"minted":            {client: plain, method: "PATCH", options: call.Options{Keyed: true}, key: "?"},
		"minted by policy":  {client: minting, method: "POST", key: "?"},
		"a GET under it":    {client: minting, method: "GET", key: ""},
		"the caller's own":  {client: minting, method: "POST", options: call.Options{Key: "another", Keyed: true}, header: "mine", key: "mine"},
		"own, and no other": {client: plain, method: "POST", header: "mine", key: "mine"},
	} {
		t.Run(name, func(t *testing.T) {
			defer got.taken()
			req := request(t, test.method, "http://web/", strings.NewReader("body"))
			req = req.WithContext(call.With(req.Context(), test.options))
			if test.header != "" {
				req.Header.Set(idempotency.Header, test.header)
			}
			before := req.Header.Clone()
			res, err := test.client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			read(t, res)
			key := got.one(t, 2)
			if _, err := idempotency.ParseKey(key); key != test.key && (test.key != "?" || err != nil) {
				t.Errorf("key %q, want %q", key, test.key)
			}
			if len(req.Header) != len(before) {
				t.Errorf("the caller's header has become %v", req.Header)
			}
			if told := res.Request.Header.Get(idempotency.Header); told != key {
				t.Errorf("the answer tells the key %q, it was %q", told, key)
			}
		})
	}
}

// A redirect that asks again for the same thing goes with the same key; one that
// asks for another does not.
func TestHTTPKeyFollowsRedirects(t *testing.T) {
	var first, then keys
	var status int
	addr := web(t, func(w http.ResponseWriter, r *http.Request) {
		first.add(r.Header[idempotency.Header])
		http.Redirect(w, r, "http://web2/there", status)
	})
	other := web(t, func(_ http.ResponseWriter, r *http.Request) { then.add(r.Header[idempotency.Header]) })
	for name, defaults := range map[string]policy.Service{
		"by option": {}, "by policy": {Retry: policy.Retry{Key: policy.KeyMinted}},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMesh(t, mesh.Options{
				Discovery: addresses{"web": {addr}, "web2": {other}}, Pinned: map[string]policy.Service{"web": defaults},
			})
			for _, status = range []int{http.StatusTemporaryRedirect, http.StatusPermanentRedirect, http.StatusSeeOther} {
				req := request(t, http.MethodPost, "http://web/", strings.NewReader("body"))
				req = req.WithContext(call.With(req.Context(), call.Options{Keyed: name == "by option"}))
				res, err := m.HTTPClient().Do(req)
				if err != nil {
					t.Fatal(err)
				}
				read(t, res)
				key, after := first.one(t, 1), then.one(t, 1)
				if key == "" || (status != http.StatusSeeOther) != (key == after) {
					t.Errorf("%d: key %q, then %q", status, key, after)
				}
			}
		})
	}
}

func TestGRPCKeys(t *testing.T) {
	var got keys
	p := &payments{unary: func(ctx context.Context, _ int32) error {
		if got.add(metadata.ValueFromIncomingContext(ctx, idempotency.Metadata)) == 1 {
			return status.Error(codes.Unavailable, "later")
		}
		return nil
	}}
	addrs := p.three(t)
	plain := dialled(t, newMesh(t, mesh.Options{Discovery: addresses{"payments": addrs}}))
	minting := dialled(t, newMesh(t, mesh.Options{
		Discovery: addresses{"payments": addrs}, Defaults: policy.Service{Retry: policy.Retry{Key: policy.KeyMinted}},
	}))
	known := dialled(t, newMesh(t, mesh.Options{
		Discovery: addresses{"payments": addrs},
		Defaults: policy.Service{Retry: policy.Retry{
			Key: policy.KeyMinted, Methods: []string{"/grpc.testing.TestService/*"},
		}},
	}))
	for name, test := range map[string]struct {
		client  grpc_testing.TestServiceClient
		options call.Options
		own     string
		key     string
	}{
		"given":                     {client: plain, options: call.Options{Key: "order-42"}, key: "order-42"},
		"given, in need of quotes":  {client: plain, options: call.Options{Key: `a "b"`}, key: `"a \"b\""`},
		"minted":                    {client: plain, options: call.Options{Keyed: true}, key: "?"},
		"minted by policy":          {client: minting, key: "?"},
		"the caller's own":          {client: minting, options: call.Options{Key: "another", Keyed: true}, own: "mine", key: "mine"},
		"none for what needs none":  {client: known, key: ""},
		"but for what asks for one": {client: known, options: call.Options{Keyed: true}, key: "?"},
	} {
		t.Run(name, func(t *testing.T) {
			defer got.taken()
			ctx := call.With(limited(t), test.options)
			if test.own != "" {
				ctx = metadata.AppendToOutgoingContext(ctx, idempotency.Metadata, test.own)
			}
			if _, err := test.client.UnaryCall(ctx, &grpc_testing.SimpleRequest{}); err != nil {
				t.Fatal(err)
			}
			if key := got.one(t, 2); key != test.key && (test.key != "?" || idempotency.CheckKey(key) != nil) {
				t.Errorf("key %q, want %q", key, test.key)
			}
		})
	}
}

// A stream that breaks before its first message is opened again under its key.
func TestGRPCStreamKeys(t *testing.T) {
	var got keys
	p := &payments{down: func(s grpc.ServerStreamingServer[grpc_testing.StreamingOutputCallResponse], _ int32) error {
		if got.add(metadata.ValueFromIncomingContext(s.Context(), idempotency.Metadata)) == 1 {
			return status.Error(codes.Unavailable, "later")
		}
		return s.Send(new(grpc_testing.StreamingOutputCallResponse))
	}}
	client := dialled(t, newMesh(t, mesh.Options{Discovery: addresses{"payments": p.three(t)}}))
	ctx := call.With(limited(t), call.Options{Keyed: true})
	stream, err := client.StreamingOutputCall(ctx, new(grpc_testing.StreamingOutputCallRequest))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	if key := got.one(t, 2); idempotency.CheckKey(key) != nil {
		t.Errorf("key %q", key)
	}
}
