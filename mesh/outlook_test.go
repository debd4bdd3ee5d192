package mesh_test

import (
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"

	"github.com/innermesh/innermesh/call"
	"github.com/innermesh/innermesh/internal/consultest"
	"github.com/innermesh/innermesh/mesh"
	"github.com/innermesh/innermesh/policy"
)

// What will be denied is not sent, over HTTP and gRPC, and what can not be known
// is.
func TestCallsThatWillBeDenied(t *testing.T) {
	agent := consultest.Start(t, consultest.Options{})
	var served atomic.Int64
	addr := web(t, func(http.ResponseWriter, *http.Request) { served.Add(1) })
	p := &payments{}
	rpc, _ := p.start(t)
	rewritten := policy.Service{Routes: []policy.Route{{Match: policy.Match{PathPrefix: "/old"}, Rewrite: policy.Rewrite{Prefix: "/"}}, {}}}
	shop := identified(t, agent, "shop", mesh.Options{
		CheckCalls: true, Discovery: addresses{"web": {addr}, "payments": {rpc}}, Pinned: map[string]policy.Service{"web": rewritten},
		TLS: mesh.TLSOptions{Mode: mesh.TLSOff},
	})
	denied := func(path string) error {
		res, err := page(t, shop, "http://web"+path)
		if err != nil {
			return err
		}
		read(t, res)
		return nil
	}
	if err := denied("/"); err != nil {
		t.Fatal(err)
	}
	intend(t, agent, "web", "shop", "deny")
	eventually(t, patience, "the denial is known", func() bool { return denied("/") != nil })
	before := served.Load()
	err := denied("/orders")
	if e, ok := errors.AsType[*call.Error](err); !ok || e.Reason != call.Rejected || e.Sent != call.NotSent || !errors.Is(err, call.ErrDenied) ||
		!strings.Contains(err.Error(), "default/shop => default/web (precedence 9)") || served.Load() != before {
		t.Errorf("%v, served %d", err, served.Load()-before)
	}
	spoken(t, agent, "web", "http")
	header := permitted("deny", "/header")
	header.HTTP.Header = append(header.HTTP.Header, present("x-a"))
	intend(t, agent, "web", "shop", "", permitted("deny", "/admin"), header, permitted("deny", "/after"), permitted("allow", "/"))
	eventually(t, patience, "the permissions are known", func() bool { return denied("/") == nil })
	for path, want := range map[string]bool{"/admin": true, "/orders/../admin": true, "/header": false, "/after": false, "/old/admin": false, "/x": false} {
		if err := denied(path); errors.Is(err, call.ErrDenied) != want {
			t.Errorf("%s: %v", path, err)
		}
	}
	intend(t, agent, "payments", "shop", "deny")
	client := dialled(t, shop)
	eventually(t, patience, "the denial is known", func() bool {
		_, err := client.UnaryCall(limited(t), &grpc_testing.SimpleRequest{})
		return errors.Is(err, call.ErrDenied) && status.Code(err) == codes.PermissionDenied
	})
}
