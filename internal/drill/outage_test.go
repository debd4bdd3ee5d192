package drill

import (
	"slices"
	"testing"
	"time"

	"github.com/innermesh/innermesh/internal/consultest"
)

// prompt is how soon the first call of a client that starts while Consul is down
// is answered: 100 ms on a machine that has nothing else to do.
const prompt = 500 * time.Millisecond

// While Consul is down a client leaves, another starts and dies, and a third one
// starts: all by what the first has kept. When Consul is back it is followed
// again. No call fails, from the first one of each on.
func TestClientRestartsWithoutConsul(t *testing.T) {
	long(t)
	s := newStage(t, consultest.Start(t, consultest.Options{Persistent: true}))
	backends := map[string]*child{"a": begin(t, s, "a"), "b": begin(t, s, "b")}
	dir := t.TempDir()
	first, _ := beginClient(t, s, "first", dir)
	s.await(10*time.Second, "all answer the first client", func() bool { return first.answered(t, "a") && first.answered(t, "b") })

	s.agent.Kill()
	s.more(first, 100)
	first.leave(t)
	second, waited := beginClient(t, s, "second", dir)
	s.more(second, 200)
	second.kill()
	third, again := beginClient(t, s, "third", dir)
	show(t, "a client that starts without Consul calls at once", "first answer after %v", max(slices.Max(waited), slices.Max(again)).Round(time.Millisecond))
	if slowest := max(slices.Max(waited), slices.Max(again)); slowest > prompt {
		t.Errorf("a first call was answered after %v, want %v", slowest, prompt)
	}
	s.more(third, 900) // longer than signs of life count: 6 s

	if err := s.agent.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	begin(t, s, "c")
	took := s.await(40*time.Second, "c, which came after Consul, answers", func() bool { return third.answered(t, "c") })
	t.Logf("Consul is followed again %v after it is back", took.Round(time.Millisecond))
	backends["a"].drain(t)
	s.more(third, 200)
	third.leave(t)
}
