package drill

import (
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/innermesh/innermesh/internal/consultest"
	"github.com/innermesh/innermesh/mesh"
)

// A document that changes how often is tried is in force within a second, while
// the same mesh carries its load.
func TestPolicyUnderLoad(t *testing.T) {
	s, _ := open(t, consultest.Options{}, "a", "b")
	var tries atomic.Int64
	failing := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		tries.Add(1)
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	t.Cleanup(failing.Close)
	name := s.service + "-failing"
	put := func(attempts string) {
		for _, service := range []string{name, s.service, s.service + "-grpc"} {
			doc := `{"retry": {"attempts": ` + attempts + `, "budget": {"ratio": -1}}}`
			if service == name {
				doc = doc[:len(doc)-1] + `, "breaker": {"open": "off"}}`
			}
			if _, err := s.consul.KV().Put(&api.KVPair{Key: "innermesh/services/" + service, Value: []byte(doc)}, nil); err != nil {
				t.Fatal(err)
			}
		}
	}
	put("2")
	_, err := s.mesh.Register(t.Context(), mesh.Registration{
		Service: name, ID: name, Address: "127.0.0.1", Port: failing.Listener.Addr().(*net.TCPAddr).Port,
	})
	if err != nil {
		t.Fatal(err)
	}
	client := s.mesh.HTTPClient()
	needs := func(want int64) func() bool {
		return func() bool {
			tries.Store(0)
			res, err := client.Get("http://" + name + "/")
			if err != nil {
				return false
			}
			_ = res.Body.Close() // nothing was in it
			return tries.Load() == want
		}
	}
	s.await(10*time.Second, "two tries a call", needs(2))
	for attempts, want := range map[string]int64{"4": 4, "3": 3, "5": 5} {
		put(attempts)
		took := s.await(time.Second, attempts+" tries a call", needs(want))
		t.Logf("%s tries a call after %v", attempts, took.Round(time.Millisecond))
		s.goOn(50)
	}
	s.finish("policies change under load, no call fails")
}
