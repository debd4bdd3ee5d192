package mesh_test

import (
	"errors"
	"io"
	"net/http"
	"sync"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"

	"github.com/innermesh/innermesh/call"
	"github.com/innermesh/innermesh/limit"
	"github.com/innermesh/innermesh/mesh"
	"github.com/innermesh/innermesh/policy"
)

// slowly is a rate that no test outlives: two calls, and then none.
func slowly(by ...string) policy.Service {
	return policy.Service{Limits: policy.Limits{Rate: policy.Rate{PerSecond: 0.001, Burst: 2, By: by}}}
}

func TestRateRefuses(t *testing.T) {
	m := newMesh(t, mesh.Options{Discovery: addresses{"web": {web(t, ok)}}, Defaults: slowly()})
	for range 2 {
		res, err := page(t, m, "http://web/")
		if err != nil {
			t.Fatal(err)
		}
		read(t, res)
	}
	_, err := page(t, m, "http://web/")
	e, is := errors.AsType[*call.Error](err)
	if !is || e.Reason != call.Rejected || e.Attempts != 0 || !errors.Is(err, limit.ErrRate) {
		t.Errorf("got %v, want that the rate refused it", err)
	}
}

// Each tenant has a rate of its own.
func TestRateByKey(t *testing.T) {
	m := newMesh(t, mesh.Options{Discovery: addresses{"web": {web(t, ok)}}, Defaults: slowly("x-tenant")})
	for n := range 3 {
		for _, tenant := range []string{"a", "b", ""} {
			r := request(t, http.MethodGet, "http://web/", nil)
			if tenant != "" {
				r.Header.Set("X-Tenant", tenant)
			}
			res, err := m.HTTPClient().Do(r)
			if refused := errors.Is(err, limit.ErrRate); refused != (n == 2) {
				t.Errorf("call %d of %q: %v", n, tenant, err)
			}
			if err == nil {
				read(t, res)
			}
		}
	}
}

func TestGRPCRateRefuses(t *testing.T) {
	p := new(payments)
	m := newMesh(t, mesh.Options{Discovery: addresses{"payments": p.three(t)}, Defaults: slowly()})
	client := dialled(t, m)
	var err error
	for range 3 {
		_, err = client.UnaryCall(limited(t), new(grpc_testing.SimpleRequest))
	}
	if status.Code(err) != codes.ResourceExhausted || !errors.Is(err, limit.ErrRate) || p.calls.Load() != 2 {
		t.Errorf("%v after %d calls", err, p.calls.Load())
	}
}

// What the service can not carry is refused, but not what is critical; the callee
// is told the priority.
func TestAdaptiveShedsByPriority(t *testing.T) {
	entered, leave := make(chan string, 100), make(chan struct{})
	addr := web(t, func(_ http.ResponseWriter, r *http.Request) {
		entered <- r.Header.Get(call.PriorityHeader)
		<-leave
	})
	m := newMesh(t, mesh.Options{Discovery: addresses{"web": {addr}}, Defaults: policy.Service{
		Limits: policy.Limits{Adaptive: policy.Adaptive{Max: 4, Min: 4}},
	}})
	c := m.HTTPClient()
	do := func(priority string, header bool) error {
		r := request(t, http.MethodGet, "http://web/", nil)
		if header {
			r.Header.Set(call.PriorityHeader, priority)
		} else {
			r = r.WithContext(call.With(r.Context(), call.Options{Priority: priority}))
		}
		res, err := c.Do(r)
		if err != nil {
			return err
		}
		_, _ = io.Copy(io.Discard, res.Body)
		return res.Body.Close()
	}
	var callers sync.WaitGroup
	for range 3 { // as many as are let in while it is measured
		callers.Go(func() {
			if err := do("", false); err != nil {
				t.Error(err)
			}
		})
		<-entered
	}
	for _, priority := range []string{"", "default", "background"} {
		if err := do(priority, true); !errors.Is(err, limit.ErrOverloaded) {
			t.Errorf("%q: %v, want that it is overloaded", priority, err)
		}
	}
	for _, header := range []bool{true, false} {
		callers.Go(func() {
			if err := do("critical", header); err != nil {
				t.Error(err)
			}
		})
		if told := <-entered; told != "critical" {
			t.Errorf("the callee was told %q", told)
		}
	}
	if err := do("urgent", false); err == nil || errors.Is(err, limit.ErrOverloaded) {
		t.Errorf("%v, want that there is no such priority", err)
	}
	close(leave)
	callers.Wait()
	if err := do("", false); err != nil {
		t.Errorf("%v, although all have left", err)
	}
	if n := inflight(m); n != 0 {
		t.Errorf("%d under way", n)
	}
}
