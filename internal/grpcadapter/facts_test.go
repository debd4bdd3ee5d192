package grpcadapter

import (
	"testing"

	"google.golang.org/grpc/metadata"

	"github.com/innermesh/innermesh/internal/route"
)

func TestFacts(t *testing.T) {
	ctx := metadata.AppendToOutgoingContext(t.Context(), "x-tenant", "a", "x-tenant", "b", "x-user", "7")
	f := &facts{ctx: ctx, service: "stock", method: "/stock.Stock/Get"}
	for name, want := range map[string]string{
		"Host": "stock", ":authority": "stock", ":method": "POST", ":path": "/stock.Stock/Get", "X-Tenant": "a,b", "x-user": "7",
	} {
		if got, ok := f.HeaderValue(route.NewName(name)); got != want || !ok {
			t.Errorf("%s is %q, %t: want %q", name, got, ok, want)
		}
	}
	if got, ok := f.HeaderValue(route.NewName("x-none")); ok {
		t.Errorf("x-none is %q: want none", got)
	}
}
