package discovery

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
)

// changing is a reporter whose health can be set once.
type changing struct {
	health  atomic.Int32
	changed chan struct{}
}

func (c *changing) Health() (Health, string) { return Health(c.health.Load()), "" }

func (c *changing) Changed() <-chan struct{} { return c.changed }

func TestMemoryFollowsTheReporter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var m Memory
		c := &changing{changed: make(chan struct{})}
		reg, err := m.Register(t.Context(), Registration{
			Service: "web", Instance: Instance{ID: "1", Address: "10.0.0.1:80", Weight: 10}, Reporter: c,
		})
		if err != nil {
			t.Fatal(err)
		}
		now := func() Instance {
			synctest.Wait()
			s, _ := m.snapshot("web")
			if len(s.Instances) != 1 {
				t.Fatalf("%+v", s)
			}
			return s.Instances[0]
		}
		if i := now(); i.Health != Passing || i.Weight != 10 {
			t.Errorf("at first: %+v", i)
		}
		c.health.Store(int32(Warning))
		c.changed <- struct{}{}
		if i := now(); i.Health != Warning || i.Weight != 5 {
			t.Errorf("with a warning: %+v", i)
		}
		if err := reg.Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
		if i := now(); i.Health != Critical {
			t.Errorf("leaving: %+v", i)
		}
		if err := reg.Deregister(context.Background()); err != nil {
			t.Fatal(err)
		}
		// What comes late does not bring it back.
		if err := reg.Maintenance(t.Context(), true, ""); err != nil {
			t.Fatal(err)
		}
		if s, _ := m.snapshot("web"); len(s.Instances) != 0 {
			t.Errorf("deregistered: %+v", s)
		}
	})
}
