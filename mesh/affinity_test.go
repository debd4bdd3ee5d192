package mesh_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"

	"github.com/innermesh/innermesh/call"
	"github.com/innermesh/innermesh/limit"
	"github.com/innermesh/innermesh/mesh"
	"github.com/innermesh/innermesh/policy"
)

// visited says which version each of many users comes to.
func visited(t *testing.T, instances addresses, canary float64, stick policy.Hash, user func(*http.Request, string) *http.Request) (at map[string]string) {
	t.Helper()
	p := policy.Service{Stick: []policy.Hash{stick}, Routes: []policy.Route{{To: []policy.Leg{
		{Weight: canary, Target: policy.Target{Service: "canary"}}, {Weight: 100 - canary, Target: policy.Target{Service: "stable"}},
	}}}}
	m := newMesh(t, mesh.Options{Discovery: instances, Pinned: map[string]policy.Service{"web": p}})
	at = map[string]string{}
	for n := range 300 {
		name := fmt.Sprint("user-", n%100)
		res, err := m.HTTPClient().Do(user(request(t, http.MethodGet, "http://web/", nil), name))
		if err != nil {
			t.Fatal(err)
		}
		version := read(t, res)
		if before := at[name]; before != "" && before != version {
			t.Fatalf("%s was at %s and is now at %s", name, before, version)
		}
		at[name] = version
	}
	return at
}

// Users stay at their version, and a canary that grows keeps those it has.
func TestUsersStickToTheirVersion(t *testing.T) {
	says := func(s string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, s) }
	}
	instances := addresses{"web": {web(t, ok)}, "stable": {web(t, says("stable"))}, "canary": {web(t, says("canary"))}}
	for what, c := range map[string]struct {
		stick policy.Hash
		user  func(*http.Request, string) *http.Request
	}{
		"header": {policy.Hash{Header: "x-user"}, func(r *http.Request, name string) *http.Request {
			r.Header.Set("X-User", name)
			return r
		}},
		"affinity": {policy.Hash{Affinity: true}, func(r *http.Request, name string) *http.Request {
			return r.WithContext(call.With(r.Context(), call.Options{Affinity: name}))
		}},
	} {
		t.Run(what, func(t *testing.T) {
			few, more := visited(t, instances, 10, c.stick, c.user), visited(t, instances, 40, c.stick, c.user)
			count := map[string]int{}
			for name, version := range more {
				count[version]++
				if few[name] == "canary" && version == "stable" {
					t.Errorf("%s left the canary when it grew", name)
				}
			}
			if count["canary"] < 25 || count["canary"] > 55 {
				t.Errorf("%d of 100 users are at the canary of 40 %%", count["canary"])
			}
		})
	}
}

// One that takes all its places leaves those of others alone.
func TestBulkheadByKey(t *testing.T) {
	p := policy.Service{Limits: policy.Limits{Bulkhead: policy.Bulkhead{Max: 1, By: []string{policy.ByAffinity}}}}
	arrived, leave := make(chan struct{}), make(chan struct{})
	var slow atomic.Bool
	slow.Store(true)
	server := web(t, func(http.ResponseWriter, *http.Request) {
		if slow.CompareAndSwap(true, false) {
			close(arrived)
			<-leave
		}
	})
	m := newMesh(t, mesh.Options{Discovery: addresses{"web": {server}}, Defaults: p})
	get := func(affinity string) error {
		r := request(t, http.MethodGet, "http://web/", nil)
		res, err := m.HTTPClient().Do(r.WithContext(call.With(r.Context(), call.Options{Affinity: affinity})))
		if err == nil {
			read(t, res)
		}
		return err
	}
	first := make(chan error)
	go func() { first <- get("a") }()
	<-arrived
	if err := get("a"); !errors.Is(err, limit.ErrFull) {
		t.Errorf("a second call of the same: %v", err)
	}
	if err := get("b"); err != nil {
		t.Errorf("a call of another: %v", err)
	}
	close(leave)
	if err := <-first; err != nil {
		t.Error(err)
	}
	if err := get("a"); err != nil {
		t.Errorf("after the first has left: %v", err)
	}
}

// Who stands in line is let in, or told how long it waited.
func TestGRPCBulkheadQueues(t *testing.T) {
	p := policy.Service{Limits: policy.Limits{Bulkhead: policy.Bulkhead{Max: 1, Queue: 1, Wait: policy.Duration(20 * time.Millisecond)}}}
	back := &payments{both: func(s grpc.BidiStreamingServer[grpc_testing.StreamingOutputCallRequest, grpc_testing.StreamingOutputCallResponse]) error {
		<-s.Context().Done()
		return s.Context().Err()
	}}
	m := newMesh(t, mesh.Options{Discovery: addresses{"payments": back.three(t)}, Defaults: p})
	client := dialled(t, m)
	stay, cancel := context.WithCancel(limited(t))
	stream, err := client.FullDuplexCall(stay)
	if err != nil {
		t.Fatal(err)
	}
	_, err = client.UnaryCall(limited(t), new(grpc_testing.SimpleRequest))
	if full, is := errors.AsType[*limit.FullError](err); !is || full.Waited == 0 || status.Code(err) != codes.ResourceExhausted {
		t.Errorf("got %v, want that it waited in vain", err)
	}
	cancel()
	if _, err := stream.Recv(); status.Code(err) != codes.Canceled {
		t.Error(err)
	}
	if _, err := client.UnaryCall(limited(t), new(grpc_testing.SimpleRequest)); err != nil {
		t.Error(err)
	}
}
