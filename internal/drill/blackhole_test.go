package drill

import (
	"encoding/json"
	"os"
	"os/exec"
	"testing"
	"time"
)

// lost is what was seen of an instance that vanished.
type lost struct {
	Loads []report      `json:"loads"`
	Out   time.Duration `json:"out"`   // until nobody tried it any more
	Tries uint64        `json:"tries"` // attempts on it from then on, while it was gone
	Back  time.Duration `json:"back"`  // until it had answered again, when packets passed once more
}

// An instance vanishes: the network drops each packet from it and to it, in the
// middle of calls and connections. It is out of rotation within 3 s, and no
// idempotent call fails.
func TestBlackHole(t *testing.T) {
	long(t)
	var tools []string
	for _, tool := range []string{"nft", "ip"} {
		at, err := exec.LookPath(tool)
		if err != nil {
			if at, err = exec.LookPath("/usr/sbin/" + tool); err != nil {
				t.Skipf("there is no %s to drop packets with: run make engines", tool)
			}
		}
		tools = append(tools, at)
	}
	space := apart()
	if space == nil {
		t.Skip("network namespaces are Linux's")
	}
	probe := exec.CommandContext(t.Context(), tools[0], "add", "table", "ip", "hole")
	probe.SysProcAttr = space
	if said, err := probe.CombinedOutput(); err != nil {
		t.Skipf("a network namespace with rules of its own can not be made (%v %s): run as root, or allow user namespaces", err, said)
	}
	world := launchIn(t, "world", apart(), holeEnv+"="+tools[0], holeIPEnv+"="+tools[1])
	var last string
	for line := range world.said {
		last = line
	}
	<-world.ended
	var seen lost
	if err := json.Unmarshal([]byte(last), &seen); err != nil || world.err != nil {
		t.Fatalf("the world ended with %v, %v, and said %q", world.err, err, last)
	}
	done, failed := 0, 0
	for _, l := range seen.Loads {
		t.Logf("%s: %d calls, %.0f a second, %d failed; answers %v", l.Name, l.Done, l.Rate, len(l.Faults), l.Answers)
		if l.Rate < promised {
			t.Errorf("%s: %.0f calls a second, want %d: the drill shows nothing", l.Name, l.Rate, promised)
		}
		for _, fault := range l.Faults[:min(len(l.Faults), 5)] {
			t.Error(fault)
		}
		done, failed = done+l.Done, failed+len(l.Faults)
	}
	show(t, "who vanishes is out of rotation within 3 s, and no idempotent call fails",
		"%v, then %d tries in 10 s; %d calls, %d failed", seen.Out.Round(time.Millisecond), seen.Tries, done, failed)
	if seen.Out > 3*time.Second {
		t.Errorf("it was in rotation for %v", seen.Out)
	}
	if seen.Tries > uint64(done)/100 {
		t.Errorf("%d of %d calls have tried it although it was gone", seen.Tries, done)
	}
	show(t, "and it is called again when packets pass", "after %v", seen.Back.Round(time.Millisecond))
}

// What the processes of that world are told.
const (
	holeEnv   = "INNERMESH_DRILL_HOLE"    // where nft is: be the caller, in a network namespace of its own
	holeIPEnv = "INNERMESH_DRILL_HOLE_IP" // where ip is
	holeAtEnv = "INNERMESH_DRILL_HOLE_AT" // be an instance at this address
)

// self starts this test's own binary as a further process of that world.
func self(env string) (*exec.Cmd, error) {
	binary, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(binary)
	cmd.Env = append(os.Environ(), holeEnv+"=", env)
	cmd.Stderr = os.Stderr
	return cmd, nil
}
