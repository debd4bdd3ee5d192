package checkout_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/innermesh/innermesh/breaker"
	"github.com/innermesh/innermesh/call"
	"github.com/innermesh/innermesh/discovery"
	"github.com/innermesh/innermesh/examples/internal/checkout"
	"github.com/innermesh/innermesh/mesh"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// There is an inventory, and nobody who takes payments.
func TestCustomersCountWhatFails(t *testing.T) {
	ctx, closingTime := context.WithCancel(t.Context())
	var served atomic.Int64
	inventory := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		if served.Add(1) == 20 {
			closingTime()
		}
	}))
	defer inventory.Close()
	m, err := mesh.New(ctx, mesh.Options{
		Service:   "checkout",
		Discovery: discovery.Static{"inventory": {inventory.Listener.Addr().String()}, "payments": nil},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close(t.Context())

	customers, err := checkout.Send(ctx, m, time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	total := customers.Wait()
	if good := total.Calls - total.Failed; good != served.Load() || good < 20 || total.Failed == 0 {
		t.Errorf("%v; the inventory has served %d", total, served.Load())
	}
	if e, ok := errors.AsType[*call.Error](total.Err()); !ok || e.Service != "payments" {
		t.Errorf("the failure is said to be %v", total.Err())
	}
	if err := (checkout.Total{Calls: 1}).Err(); err != nil {
		t.Errorf("a good day ends with %v", err)
	}
}

func TestTable(t *testing.T) {
	got := checkout.Table([]mesh.Upstream{
		{Service: "idle", Instances: []mesh.UpstreamInstance{{Instance: discovery.Instance{ID: "idle-1"}}}},
		{Service: "web", Instances: []mesh.UpstreamInstance{
			{Instance: discovery.Instance{ID: "node/web-1"}, Attempts: 30, Failures: 3, P50: 1234567, P99: 9 * time.Millisecond, Inflight: 2},
			{Instance: discovery.Instance{ID: "node/web-2"}, Attempts: 10, Failures: 10, Breaker: breaker.Open},
		}},
	})
	want := strings.TrimPrefix(`
  instance  share  success    p50  p99  in flight  circuit
    idle-1    0 %    0.0 %     0s   0s          0   closed
     web-1   75 %   90.0 %  1.2ms  9ms          2   closed
     web-2   25 %    0.0 %     0s   0s          0     open
`, "\n")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
