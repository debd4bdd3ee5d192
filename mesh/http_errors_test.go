package mesh_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/innermesh/innermesh/breaker"
	"github.com/innermesh/innermesh/call"
	"github.com/innermesh/innermesh/discovery"
	"github.com/innermesh/innermesh/mesh"
	"github.com/innermesh/innermesh/policy"
)

func TestHTTPErrorsSayWhatIsWrong(t *testing.T) {
	critical := new(discovery.Memory)
	sick := discovery.Instance{ID: "a", Address: "127.0.0.1:1", Health: discovery.Critical}
	if err := critical.Set("web", sick); err != nil {
		t.Fatal(err)
	}
	closed := newMesh(t, mesh.Options{Discovery: addresses{"web": {"127.0.0.1:1"}}})
	if err := closed.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	broken := newMesh(t, mesh.Options{
		Discovery: addresses{"web": {deadAddress(t)}},
		Defaults: policy.Service{
			Breaker:  policy.Breaker{Failures: 1, Open: policy.Duration(time.Hour)},
			Balancer: policy.Balancer{PanicPercent: -1},
		},
	})
	if _, err := page(t, broken, "http://web/"); err == nil {
		t.Fatal("a dead instance answered")
	}
	for _, c := range []struct {
		name string
		m    *mesh.Mesh
		want error
	}{
		{"unknown", newMesh(t, mesh.Options{Discovery: addresses{}}), discovery.ErrUnknownService},
		{"none", newMesh(t, mesh.Options{Discovery: addresses{"web": {}}}), discovery.ErrNoInstances},
		{"critical", newMesh(t, mesh.Options{Discovery: critical}), discovery.ErrNoHealthyInstance},
		{"all dead", broken, breaker.ErrOpen},
		{"closed", closed, mesh.ErrClosed},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := page(t, c.m, "http://web/")
			e, isCall := errors.AsType[*call.Error](err)
			if !isCall || !errors.Is(err, c.want) {
				t.Fatalf("got %v, want %v in a *call.Error", err, c.want)
			}
			if e.Service != "web" || e.Reason != call.Rejected {
				t.Errorf("facts are wrong: %+v", e)
			}
		})
	}
}

// silent is a source that never answers.
type silent struct{}

func (silent) Watch(ctx context.Context, _ string, _ func(discovery.Update)) error {
	<-ctx.Done()
	return fmt.Errorf("watch: %w", ctx.Err())
}

func TestHTTPSilentSourceCostsTheCallersTime(t *testing.T) {
	m := newMesh(t, mesh.Options{Discovery: silent{}})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := m.HTTPClient().Do(request(t, http.MethodGet, "http://web/", nil).WithContext(ctx))
	e, isCall := errors.AsType[*call.Error](err)
	if !isCall || !errors.Is(err, discovery.ErrNotReady) || !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("got %v, want ErrNotReady and the deadline in a *call.Error", err)
	}
	if !e.Timeout() || e.Sent != call.NotSent {
		t.Errorf("facts are wrong: %+v", e)
	}
}

func TestHTTPAllocations(t *testing.T) {
	m := newMesh(t, mesh.Options{Discovery: addresses{"web": {"127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"}}})
	measure := func(rt http.RoundTripper) float64 {
		c := &http.Client{Transport: rt}
		return testing.AllocsPerRun(500, func() {
			res, err := c.Get("http://web/")
			if err != nil {
				t.Fatal(err)
			}
			_ = res.Body.Close()
		})
	}
	raw, meshed := measure(instant{}), measure(m.Transport(instant{}))
	if meshed-raw > 6 {
		t.Errorf("a call costs %.0f allocations more than the bare client's %.0f, want 6 at most", meshed-raw, raw)
	}
}
