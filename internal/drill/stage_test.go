package drill

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	"google.golang.org/grpc/interop/grpc_testing"

	"github.com/innermesh/innermesh/call"
	"github.com/innermesh/innermesh/internal/consultest"
	"github.com/innermesh/innermesh/mesh"
	"github.com/innermesh/innermesh/policy"
)

// stage is where a drill plays: a Consul of its own, backends, one mesh that
// calls them, and the load.
type stage struct {
	t       *testing.T
	service string
	agent   *consultest.Agent
	gate    *gate // of the backends, to the agent
	log     string
	consul  *api.Client
	mesh    *mesh.Mesh
	loads   []*load
}

// open starts everything with these backends, and returns when all of them have
// answered over both protocols.
func open(t *testing.T, o consultest.Options, ids ...string) (*stage, map[string]*child) {
	t.Helper()
	long(t)
	s := newStage(t, consultest.Start(t, o))
	return s, s.play(ids...)
}

func long(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("a drill takes some seconds")
	}
}

// newStage is one on which nothing plays yet.
func newStage(t *testing.T, agent *consultest.Agent) *stage {
	t.Helper()
	s := &stage{t: t, service: consultest.Name(t, "web"), agent: agent, gate: newGate(t, agent.HTTPAddr)}
	var err error
	if s.consul, err = agent.Client(); err != nil {
		t.Fatal(err)
	}
	return s
}

// play starts the mesh, these backends and the load.
func (s *stage) play(ids ...string) map[string]*child {
	s.t.Helper()
	s.join()
	children := map[string]*child{}
	for _, id := range ids {
		children[id] = begin(s.t, s, id)
	}
	for _, l := range s.loads {
		// One call after the other until policy, instances and connections are there:
		// how a burst of first calls fares is another question.
		s.await(20*time.Second, "all answer over "+l.name, func() bool {
			l.once()
			return !slices.ContainsFunc(ids, func(id string) bool { return l.from(id) == 0 })
		})
	}
	for _, l := range s.loads {
		l.begin(s.t)
	}
	for _, id := range ids {
		s.answering(id)
	}
	return children
}

// join starts the mesh and says what the loads call.
func (s *stage) join() { s.joinWith(mesh.TLSOptions{}) }

// joinWith is join with calls that are secured so.
func (s *stage) joinWith(tls mesh.TLSOptions) {
	s.t.Helper()
	log, err := os.Create(filepath.Join(s.t.ArtifactDir(), "mesh.log"))
	if err != nil {
		s.t.Fatal(err)
	}
	s.log = log.Name()
	o := caller(s.agent.HTTPAddr, log)
	o.TLS = tls
	s.mesh, err = mesh.New(s.t.Context(), o)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		_ = s.mesh.Close(context.Background()) // Consul may be gone
		_ = log.Close()
		if s.t.Failed() {
			s.t.Logf("the mesh said:\n%s", s.said())
		}
	})
	if s.loads, err = loadsOf(s.mesh, s.service); err != nil {
		s.t.Fatal(err)
	}
}

// caller is how whoever calls joins the mesh.
func caller(agent string, log io.Writer) mesh.Options {
	return mesh.Options{
		Service: "caller", Consul: mesh.ConsulOptions{Address: agent},
		// Wide limits: a drill is about events, not about the speed of a machine that
		// has other tests to run.
		Defaults: policy.Service{Timeout: policy.Timeout{
			Total: policy.Duration(30 * time.Second), PerTry: policy.Duration(10 * time.Second), Connect: policy.Duration(5 * time.Second),
		}},
		Logger: slog.New(slog.NewTextHandler(log, nil)),
	}
}

// loadsOf are the loads on a service, one for each protocol.
func loadsOf(m *mesh.Mesh, service string) ([]*load, error) {
	client := m.HTTPClient()
	overHTTP := func(ctx context.Context) (string, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+service+"/", http.NoBody)
		if err != nil {
			return "", err
		}
		res, err := client.Do(req)
		if err != nil {
			return "", err
		}
		defer res.Body.Close() // it was read
		body, err := io.ReadAll(res.Body)
		if err == nil && res.StatusCode != http.StatusOK {
			err = fmt.Errorf("answered %s", res.Status)
		}
		return string(body), err
	}
	conn, err := m.GRPCClient(service + "-grpc")
	if err != nil {
		return nil, err
	}
	stub := grpc_testing.NewTestServiceClient(conn)
	overGRPC := func(ctx context.Context) (string, error) {
		res, err := stub.UnaryCall(call.With(ctx, call.Options{Idempotent: true}), &grpc_testing.SimpleRequest{})
		return res.GetUsername(), err
	}
	return []*load{
		{name: "HTTP", call: overHTTP, answers: map[string]int{}},
		{name: "gRPC", call: overGRPC, answers: map[string]int{}},
	}, nil
}

// finish ends the load, judges it and shows what was promised of it.
func (s *stage) finish(promise string) {
	s.t.Helper()
	done, failed := 0, 0
	for _, l := range s.loads {
		l.finish(s.t)
		done, failed = done+l.done, failed+len(l.faults)
	}
	show(s.t, promise, "%d calls, %d failed", done, failed)
}

// await polls a condition that other processes bring about, and returns how long
// it took.
func (s *stage) await(within time.Duration, what string, ok func() bool) time.Duration {
	s.t.Helper()
	start := time.Now()
	ctx, cancel := context.WithTimeout(s.t.Context(), within)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-ctx.Done():
			s.t.Fatalf("not within %v: %s", within, what)
		case <-tick.C:
		}
	}
	return time.Since(start)
}

// answering waits until a backend gives new answers over both protocols.
func (s *stage) answering(id string) {
	s.t.Helper()
	var before []int
	for _, l := range s.loads {
		before = append(before, l.from(id))
	}
	s.await(20*time.Second, id+" answers", func() bool {
		for i, l := range s.loads {
			if l.from(id) == before[i] {
				return false
			}
		}
		return true
	})
}

// goOn waits until that many more calls of each protocol have ended.
func (s *stage) goOn(calls int) {
	s.t.Helper()
	for _, l := range s.loads {
		before := l.total()
		s.await(30*time.Second, fmt.Sprintf("%d more calls over %s", calls, l.name), func() bool { return l.total()-before >= calls })
	}
}

// upstream is what the mesh knows of a backend, over HTTP and over gRPC; those
// it knows nothing of are left out.
func (s *stage) upstream(id string) (found []mesh.UpstreamInstance) {
	for _, u := range s.mesh.Upstreams() {
		for _, i := range u.Instances {
			if i.Instance.ID == s.agent.Node+"/"+u.Service+"-"+id {
				found = append(found, i)
			}
		}
	}
	return found
}

// said is the log of the mesh.
func (s *stage) said() string {
	said, err := os.ReadFile(s.log)
	if err != nil {
		s.t.Error(err)
	}
	return string(said)
}

// registered says whether Consul has that many passing instances of each
// service.
func (s *stage) registered(n int) bool {
	for _, name := range []string{s.service, s.service + "-grpc"} {
		entries, _, err := s.consul.Health().Service(name, "", true, nil)
		if err != nil || len(entries) != n {
			return false
		}
	}
	return true
}
