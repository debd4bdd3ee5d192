package httpadapter

import (
	"log/slog"
	"net/http"
	"testing"

	"github.com/innermesh/innermesh/discovery"
	"github.com/innermesh/innermesh/internal/cluster"
	"github.com/innermesh/innermesh/internal/telemetry"
	"github.com/innermesh/innermesh/policy"
)

// What a client keeps of a target ends with the target, not only with the client.
func TestConnsForgetClosedClusters(t *testing.T) {
	tel, err := telemetry.New(telemetry.Options{}, "test")
	if err != nil {
		t.Fatal(err)
	}
	open := func() *cluster.Cluster {
		c := cluster.New(t.Context(), cluster.Options{
			Upstream: "web", Target: policy.Target{Service: "web"}, Source: discovery.Static{"web": {"127.0.0.1:1"}},
			Telemetry: tel, Policy: policy.Merge(policy.Layer{Service: policy.Default()}), Logger: slog.New(slog.DiscardHandler),
		})
		if err := c.Ready(t.Context()); err != nil {
			t.Fatal(err)
		}
		return c
	}
	c := newConns(new(http.Transport), nil)
	first, second := open(), open()
	for _, of := range []*cluster.Cluster{first, second} {
		for _, m := range of.View().Members() {
			c.to(m)
		}
	}
	if n := len(c.clusters); n != 2 {
		t.Fatalf("%d targets are watched, want 2", n)
	}
	first.Close()
	c.warm(first) // late
	if n := len(c.clusters); n != 1 {
		t.Errorf("%d targets are watched after one of two was closed", n)
	}
	for m := range c.members.Range {
		if m.(*cluster.Member).Cluster == first {
			t.Error("a line is left to a member of a closed target")
		}
	}
	c.end()
	second.Close()
	if n := len(c.clusters); n != 0 {
		t.Errorf("%d targets are watched after the end", n)
	}
	late := open()
	defer late.Close()
	c.warm(late)
	if n := len(c.clusters); n != 0 {
		t.Errorf("%d targets are watched that came after the end", n)
	}
}
