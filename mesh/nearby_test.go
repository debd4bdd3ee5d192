package mesh_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/innermesh/innermesh/breaker"
	"github.com/innermesh/innermesh/discovery"
	"github.com/innermesh/innermesh/mesh"
	"github.com/innermesh/innermesh/policy"
)

// zoned has an instance of "web" in each of three zones, and counts their calls.
func zoned(t *testing.T) (source *discovery.Memory, called map[string]*atomic.Int64, sick map[string]*atomic.Bool) {
	t.Helper()
	source, called, sick = new(discovery.Memory), map[string]*atomic.Int64{}, map[string]*atomic.Bool{}
	var all []discovery.Instance
	for _, zone := range []string{"a", "b", "c"} {
		n, bad := new(atomic.Int64), new(atomic.Bool)
		addr := web(t, func(w http.ResponseWriter, _ *http.Request) {
			n.Add(1)
			if bad.Load() {
				w.WriteHeader(http.StatusServiceUnavailable)
			}
		})
		called[zone], sick[zone] = n, bad
		all = append(all, discovery.Instance{ID: zone, Address: addr, Region: "eu", Zone: zone})
	}
	if err := source.Set("web", all...); err != nil {
		t.Fatal(err)
	}
	return source, called, sick
}

// Calls stay in the zone, and leave it when nobody is well there, none lost.
func TestCallsStayNearby(t *testing.T) {
	source, called, sick := zoned(t)
	m := newMesh(t, mesh.Options{
		Discovery: source, Region: "eu", Zone: "b",
		Defaults: policy.Service{Breaker: policy.Breaker{Failures: 2, Open: policy.Duration(time.Hour)}},
	})
	get := func(n int) {
		t.Helper()
		for range n {
			res, err := page(t, m, "http://web/")
			if err != nil {
				t.Fatal(err)
			}
			read(t, res)
			if res.StatusCode != http.StatusOK {
				t.Errorf("got %s", res.Status)
			}
		}
	}
	get(50)
	if n := called["b"].Load(); n != 50 {
		t.Errorf("%d of 50 calls stayed in the zone", n)
	}
	sick["b"].Store(true)
	get(50) // retries go to other zones until the breaker is open, and calls at once from then on
	if n := called["b"].Load(); n > 52 {
		t.Errorf("%d calls went to who failed twice", n-50)
	}
	if called["a"].Load() == 0 || called["c"].Load() == 0 {
		t.Errorf("a got %d, c %d", called["a"].Load(), called["c"].Load())
	}
}

// By its own act a client never leaves less than half of a service: what fails
// altogether is called on, and found well at once when it is.
func TestTheFloorIsHeld(t *testing.T) {
	for percent, refused := range map[int]bool{0: false, -1: true} {
		t.Run(fmt.Sprint(percent), func(t *testing.T) {
			source, _, sick := zoned(t)
			m := newMesh(t, mesh.Options{Discovery: source, Defaults: policy.Service{
				Breaker:  policy.Breaker{Failures: 2, Open: policy.Duration(time.Hour)},
				Balancer: policy.Balancer{PanicPercent: percent},
				Retry:    policy.Retry{Attempts: 1},
			}})
			for _, s := range sick {
				s.Store(true)
			}
			for range 30 {
				if res, err := page(t, m, "http://web/"); err == nil {
					read(t, res)
				} else if !refused || !errors.Is(err, breaker.ErrOpen) {
					t.Fatal(err)
				}
			}
			for _, s := range sick {
				s.Store(false)
			}
			for range 10 {
				res, err := page(t, m, "http://web/")
				if refused != errors.Is(err, breaker.ErrOpen) {
					t.Fatalf("with a floor of %d: %v", percent, err)
				}
				if err == nil {
					read(t, res)
				}
			}
		})
	}
}

// Of a large service a process calls a part, and says so.
func TestPartsOfLargeServices(t *testing.T) {
	addr := web(t, ok)
	source := new(discovery.Memory)
	var all []discovery.Instance
	for i := range 300 {
		all = append(all, discovery.Instance{ID: fmt.Sprintf("%03d", i), Address: addr})
	}
	if err := source.Set("web", all...); err != nil {
		t.Fatal(err)
	}
	var parts [2][]string
	for i := range parts {
		m := newMesh(t, mesh.Options{Discovery: source, Replica: i + 1})
		for range 100 {
			res, err := page(t, m, "http://web/")
			if err != nil {
				t.Fatal(err)
			}
			read(t, res)
		}
		e, err := m.Explain(t.Context(), request(t, http.MethodGet, "http://web/", nil))
		if err != nil {
			t.Fatal(err)
		}
		known := e.Legs[0].Targets[0].Instances
		for _, instance := range known {
			if instance.Out == "" {
				parts[i] = append(parts[i], instance.Instance.ID)
			}
		}
		if len(known) != 300 || len(parts[i]) != 20 {
			t.Errorf("%d of %d instances are called", len(parts[i]), len(known))
		}
	}
	if strings.Join(parts[0], " ") == strings.Join(parts[1], " ") {
		t.Error("two replicas call the same part")
	}
}

// Where a program is and which copy it is must make sense.
func TestPlaceOptions(t *testing.T) {
	_, err := mesh.New(t.Context(), mesh.Options{Service: "checkout", Discovery: discovery.Static{}, Zone: "b", Replica: -1})
	for _, field := range []string{"Zone", "Replica"} {
		if err == nil || !strings.Contains(err.Error(), "option "+field+" is ") {
			t.Errorf("%v does not name %s", err, field)
		}
	}
}
