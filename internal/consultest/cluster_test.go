package consultest_test

import (
	"testing"

	"github.com/innermesh/innermesh/internal/consultest"
)

func TestClusterElectsAnotherLeader(t *testing.T) {
	if testing.Short() {
		t.Skip("an election takes some seconds")
	}
	c := consultest.StartCluster(t, 3, consultest.Options{})
	first, err := c.Leader(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	put(t, first, "k")
	first.Kill()
	second, err := c.Leader(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if second == first || !has(t, second, "k") {
		t.Errorf("after %s the leader is %s, which has the key: %v", first.Node, second.Node, has(t, second, "k"))
	}
	if err := first.Restart(t.Context()); err != nil {
		t.Fatalf("a server that comes back: %v", err)
	}
	if !has(t, first, "k") {
		t.Error("a server that came back has lost what the others know")
	}
}
