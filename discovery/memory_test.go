package discovery_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/innermesh/innermesh/discovery"
)

// told runs a watch inside the bubble and returns what it was told so far.
func told(t *testing.T, src discovery.Source, service string) func() []discovery.Update {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var got []discovery.Update
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = src.Watch(ctx, service, func(u discovery.Update) { got = append(got, u) })
	}()
	t.Cleanup(func() { cancel(); <-done })
	return func() []discovery.Update { synctest.Wait(); return got }
}

func TestMemoryTellsOnlyChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var m discovery.Memory
		updates := told(t, &m, "web")
		if got := updates(); len(got) != 1 || !got[0].Snapshot.Unknown {
			t.Fatalf("at first: %+v", got)
		}
		m.Remove("web", "nobody")
		if got := updates(); len(got) != 1 {
			t.Fatalf("removing nobody was told: %+v", got)
		}
		inst := discovery.Instance{ID: "1", Address: "127.0.0.1:80", Meta: map[string]string{"k": "v"}}
		for range 3 {
			if err := m.Put("web", inst); err != nil {
				t.Fatal(err)
			}
		}
		if got := updates(); len(got) != 2 || got[1].Snapshot.Unknown {
			t.Fatalf("one change, three times: %+v", got)
		}
		inst.Meta["k"] = "changed by the caller"
		m.Remove("web", "1")
		got := updates()
		if len(got) != 3 || got[2].Snapshot.Unknown || len(got[2].Snapshot.Instances) != 0 {
			t.Fatalf("the last one left: %+v", got)
		}
		if v := got[1].Snapshot.Instances[0].Meta["k"]; v != "v" {
			t.Errorf("a caller changed what was told: %q", v)
		}
	})
}

func TestMemoryRegisters(t *testing.T) { synctest.Test(t, testMemoryRegisters) }

func testMemoryRegisters(t *testing.T) {
	var m discovery.Memory
	updates := told(t, &m, "web")
	count := func() int { got := updates(); return len(got[len(got)-1].Snapshot.Instances) }
	r := discovery.Registration{Service: "web", Instance: discovery.Instance{ID: "1", Address: "127.0.0.1:80"}}
	reg, err := m.Register(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	if count() != 1 {
		t.Errorf("after Register: %+v", updates())
	}
	for range 2 {
		if err := reg.Deregister(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if count() != 0 {
		t.Errorf("after Deregister: %+v", updates())
	}
	// The second call of an old registration must not remove its successor.
	if _, err := m.Register(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	if err := reg.Deregister(t.Context()); err != nil {
		t.Error(err)
	}
	if count() != 1 {
		t.Errorf("after a late Deregister: %+v", updates())
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := m.Register(ctx, r); err == nil {
		t.Error("registered although the context had ended")
	}
}

func TestMemoryRefusesWhole(t *testing.T) {
	var m discovery.Memory
	good := discovery.Instance{ID: "1", Address: "127.0.0.1:80"}
	err := m.Set("web", good, good, discovery.Instance{ID: "2", Address: "nowhere"}, discovery.Instance{Address: "a:1"})
	if err == nil {
		t.Fatal("accepted")
	}
	for _, part := range []string{`instance 1: a second one with ID "1"`, "instance 2", "nowhere", "instance 3", "no ID"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q does not name %q", err, part)
		}
	}
	synctest.Test(t, func(t *testing.T) { // the registry has made no channel yet, so it may enter a bubble
		if got := told(t, &m, "web")(); !got[0].Snapshot.Unknown {
			t.Errorf("half of a refused list was taken: %+v", got)
		}
	})
	if m.Set("") == nil || m.Put("", good) == nil || m.Put("web", discovery.Instance{}) == nil {
		t.Error("accepted nonsense")
	}
}

func TestStaticValidate(t *testing.T) {
	err := discovery.Static{"web": {"a:1", "b"}, "api": {"c:0"}, "": nil, "none": {}}.Validate()
	for _, part := range []string{`static["web"][1]`, `"b"`, `static["api"][0]`, "without a name"} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%v does not name %s", err, part)
		}
	}
	if err := (discovery.Static{"web": {"a:1", "[::1]:2"}, "none": {}}).Validate(); err != nil {
		t.Errorf("refused a good one: %v", err)
	}
	synctest.Test(t, func(t *testing.T) {
		if got := told(t, discovery.Static{"web": {"nowhere"}}, "web")(); got[0].Err == nil {
			t.Errorf("told a bad address: %+v", got)
		}
		if got := told(t, discovery.Static{"web": {}}, "web")(); got[0].Snapshot.Unknown || got[0].Err != nil {
			t.Errorf("a known service without instances: %+v", got)
		}
		if got := told(t, discovery.Static{"web": {"a:1", "a:1"}}, "web")(); len(got[0].Snapshot.Instances) != 1 {
			t.Errorf("an address given twice: %+v", got)
		}
	})
}
