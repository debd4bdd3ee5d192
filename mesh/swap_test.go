package mesh_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	"google.golang.org/grpc"
	"google.golang.org/grpc/interop/grpc_testing"

	"github.com/innermesh/innermesh/discovery"
	"github.com/innermesh/innermesh/internal/consultest"
	"github.com/innermesh/innermesh/mesh"
	"github.com/innermesh/innermesh/policy"
)

// A router that is deleted takes no stream along: those under way end where they
// began, and only new ones go elsewhere.
func TestStreamsOutliveTheirRouter(t *testing.T) {
	agent := consultest.Shared(t)
	name := consultest.Name(t, "pay")
	next := name + "-next"
	m := consulMesh(t, agent, name)
	speaks := func(service string) api.ConfigEntry {
		return &api.ServiceConfigEntry{Kind: api.ServiceDefaults, Name: service, Protocol: "grpc"}
	}
	write(t, agent, speaks(name), speaks(next))
	run := func(service string) *payments {
		p := &payments{both: func(s grpc.BidiStreamingServer[grpc_testing.StreamingOutputCallRequest, grpc_testing.StreamingOutputCallResponse]) error {
			for {
				if _, err := s.Recv(); err != nil {
					if err == io.EOF {
						return nil
					}
					return err
				}
				if err := s.Send(&grpc_testing.StreamingOutputCallResponse{Payload: &grpc_testing.Payload{Body: []byte(service)}}); err != nil {
					return err
				}
			}
		}}
		addr, _ := p.start(t)
		registered(t, m, mesh.Registration{Service: service, ID: service}, addr)
		return p
	}
	run(name)
	run(next)
	router := &api.ServiceRouterConfigEntry{Kind: api.ServiceRouter, Name: name, Routes: []api.ServiceRoute{routeTo("/", api.ServiceRouteDestination{Service: next})}}
	write(t, agent, router)
	conn, err := m.GRPCClient(name)
	if err != nil {
		t.Fatal(err)
	}
	client := grpc_testing.NewTestServiceClient(conn)
	type stream = grpc.BidiStreamingClient[grpc_testing.StreamingOutputCallRequest, grpc_testing.StreamingOutputCallResponse]
	say := func(s stream) string {
		if err := s.Send(new(grpc_testing.StreamingOutputCallRequest)); err != nil {
			return err.Error()
		}
		res, err := s.Recv()
		if err != nil {
			return err.Error()
		}
		return string(res.GetPayload().GetBody())
	}
	open := func() (stream, string) {
		s, err := client.FullDuplexCall(limited(t))
		if err != nil {
			return nil, err.Error()
		}
		return s, say(s)
	}
	eventually(t, 10*time.Second, "streams go to the other service", func() bool { _, who := open(); return who == next })
	var all []stream
	for range 5 {
		s, who := open()
		if who != next {
			t.Fatal(who)
		}
		all = append(all, s)
	}
	if _, err := consulClient(t, agent).ConfigEntries().Delete(router.Kind, router.Name, nil); err != nil {
		t.Fatal(err)
	}
	eventually(t, 5*time.Second, "new streams go to the service itself", func() bool { _, who := open(); return who == name })
	for _, s := range all {
		for range 3 {
			if who := say(s); who != next {
				t.Errorf("a stream that was open goes on with %s", who)
			}
		}
		if err := s.CloseSend(); err != nil {
			t.Error(err)
		}
		if _, err := s.Recv(); err != io.EOF {
			t.Errorf("it ends with %v", err)
		}
	}
}

// Instances that say goodbye on open HTTP/2 connections, while one plan follows
// the other, cost no call.
func TestGoAwayWhilePlansChange(t *testing.T) {
	agent := consultest.Shared(t)
	name := consultest.Name(t, "web")
	m := consulMesh(t, agent, name)
	kv := consulClient(t, agent).KV()
	put := func(n int) {
		doc := fmt.Sprintf(`{"http": {"protocol": "http2"}, "routes": [{"name": "n%d"}]}`, n)
		if _, err := kv.Put(&api.KVPair{Key: name + "/services/" + name, Value: []byte(doc)}, nil); err != nil {
			t.Fatal(err)
		}
	}
	put(0)
	start := func(i int) (discovery.Registered, *httptest.Server) {
		s := httptest.NewUnstartedServer(http.HandlerFunc(ok))
		s.Config.Protocols = new(http.Protocols)
		s.Config.Protocols.SetUnencryptedHTTP2(true)
		s.Start()
		t.Cleanup(s.Close)
		return registered(t, m, mesh.Registration{Service: name, ID: fmt.Sprintf("%s-%d", name, i)}, s.Listener.Addr().String()), s
	}
	start(0)
	client := m.HTTPClient()
	eventually(t, 10*time.Second, "the service answers", func() bool {
		got, err := bodyOf(client, "http://"+name+"/")
		return err == nil && strings.HasPrefix(got, "200")
	})
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var callers sync.WaitGroup
	var done, failed atomic.Int64
	for i := range 4 {
		callers.Go(func() {
			for ctx.Err() == nil {
				method, body := http.MethodGet, io.Reader(nil)
				if i%2 == 1 {
					method, body = http.MethodPost, strings.NewReader("not to be repeated")
				}
				res, err := client.Do(request(t, method, "http://"+name+"/", body))
				if err != nil {
					failed.Add(1)
					t.Logf("%s: %v", method, err)
					continue
				}
				_, _ = io.Copy(io.Discard, res.Body)
				_ = res.Body.Close()
				done.Add(1)
			}
		})
	}
	for i := 1; i <= 5; i++ {
		reg, s := start(i)
		eventually(t, 5*time.Second, "it is called", func() bool {
			for _, u := range m.Upstreams()[0].Instances {
				if strings.HasSuffix(u.Instance.ID, fmt.Sprintf("/%s-%d", name, i)) && u.Attempts > 0 {
					return true
				}
			}
			return false
		})
		put(i)
		if err := s.Config.Shutdown(limited(t)); err != nil { // GOAWAY, and then no new connection
			t.Error(err)
		}
		put(100 + i)
		if err := reg.Deregister(limited(t)); err != nil {
			t.Error(err)
		}
	}
	stop()
	callers.Wait()
	t.Logf("%d calls", done.Load())
	if failed.Load() != 0 || done.Load() < 100 {
		t.Errorf("%d of %d calls have failed", failed.Load(), done.Load())
	}
}

// A folder that nothing can be kept in is told of once, and costs no call.
func TestSnapshotDirOfNoUse(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for what, dir := range map[string]string{"a file": file, "below a file": filepath.Join(file, "sub"), "not to be made": "/proc/innermesh"} {
		t.Run(what, func(t *testing.T) {
			var log syncedBuffer
			m, err := mesh.New(t.Context(), mesh.Options{
				Service: "checkout", SnapshotDir: dir, Discovery: addresses{"web": {web(t, ok)}},
				Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelWarn})),
				Pinned: map[string]policy.Service{"web": {Retry: policy.Retry{Attempts: 1}}},
			})
			if err != nil {
				t.Fatal(err)
			}
			for range 3 {
				res, err := page(t, m, "http://web/")
				if err != nil {
					t.Fatal(err)
				}
				read(t, res)
			}
			if err := m.Close(context.WithoutCancel(t.Context())); err != nil {
				t.Error(err)
			}
			if text := log.String(); strings.Count(text, "\n") != 1 || !strings.Contains(text, dir) {
				t.Errorf("logged:\n%s", text)
			}
		})
	}
}

// syncedBuffer is a buffer that several may write to.
type syncedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write implements [io.Writer].
func (s *syncedBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

// String returns what was written.
func (s *syncedBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}
