package mesh_test

import (
	"log/slog"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/innermesh/innermesh/inbound/audit"
	"github.com/innermesh/innermesh/internal/consultest"
	"github.com/innermesh/innermesh/mesh"
)

// Who may not call learns nothing of what there is to call: methods that a server
// does not have are refused like those that it has, and recorded.
func TestUnknownMethods(t *testing.T) {
	agent := consultest.Start(t, consultest.Options{Config: `default_intention_policy = "deny"`})
	spoken(t, agent, "payments", "grpc")
	intend(t, agent, "payments", "shop", "", permitted("deny", "/secret."), permitted("allow", "/"))
	var log logged
	server := secured(t, agent, "payments", mesh.Options{Server: mesh.ServerOptions{
		Access: mesh.AccessOptions{Audit: audit.Options{Handler: slog.NewTextHandler(&log, nil)}},
	}}, &log)
	found := addresses{"payments": {servedGRPC(t, server, &payments{})}}
	for from, want := range map[string]map[string]codes.Code{
		"shop":  {"/unknown.Service/Method": codes.Unimplemented, "/grpc.testing.TestService/Unknown": codes.Unimplemented, "/secret.Service/Method": codes.PermissionDenied},
		"batch": {"/unknown.Service/Method": codes.PermissionDenied, "/grpc.testing.TestService/UnaryCall": codes.PermissionDenied},
	} {
		conn, err := identified(t, agent, from, mesh.Options{Discovery: found}).GRPCClient("payments")
		if err != nil {
			t.Fatal(err)
		}
		for method, code := range want {
			err := conn.Invoke(limited(t), method, &emptypb.Empty{}, &emptypb.Empty{})
			if status.Code(err) != code {
				t.Errorf("%s calls %s: %v, want %v", from, method, err, code)
			}
			if code == codes.Unimplemented && !strings.Contains(err.Error(), method) {
				t.Errorf("%s calls %s: %v does not say what is unknown", from, method, err)
			}
		}
	}
	denied := map[string]bool{}
	for _, e := range looked[struct{ Events []struct{ Kind, Text string } }](t, server, "events").Events {
		if e.Kind == "denied" {
			what, _, _ := strings.Cut(e.Text, "from")
			denied[what+e.Text[strings.LastIndex(e.Text, "/")+1:]] = true
		}
	}
	if len(denied) != 3 || !denied["_OTHER shop refused"] || !denied["_OTHER batch refused"] || !denied["/grpc.testing.TestService/UnaryCall batch refused"] {
		t.Errorf("the page shows as denied: %v", denied)
	}
	if log.count("/secret.Service/Method") == 0 {
		t.Error("a denied call of an unknown method is not recorded")
	}
}

// A program that has a handler of its own for what is unknown keeps it.
func TestUnknownMethodsOfOnesOwn(t *testing.T) {
	m := developed(t, devCA(t), "payments", mesh.Options{TLS: mesh.TLSOptions{Mode: mesh.TLSPermissive}, Discovery: addresses{}})
	addr := servedGRPC(t, m, &payments{}, grpc.UnknownServiceHandler(func(any, grpc.ServerStream) error { return status.Error(codes.DataLoss, "mine") }))
	conn, err := newMesh(t, mesh.Options{Discovery: addresses{"payments": {addr}}}).GRPCClient("payments")
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.Invoke(limited(t), "/a.B/C", &emptypb.Empty{}, &emptypb.Empty{}); status.Code(err) != codes.DataLoss {
		t.Errorf("got %v", err)
	}
}
