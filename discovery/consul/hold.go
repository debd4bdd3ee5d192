package consul

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/innermesh/innermesh/discovery"
)

// defaultHold is how long those are held that Consul has forgotten: their
// registrars need a second, the agent up to 3 s to tell its servers, and a probe
// comes within 5 s.
const defaultHold = 10 * time.Second

// hold keeps the instances that went missing when Consul lost its memory, until
// they are registered again or their time is up. See decision 12.
type hold struct {
	missing map[string]discovery.Instance // by ID; empty: nothing is held
	until   time.Time
	lost    int // how many there were at first
}

// begin holds those of the known instances that could be called.
func (h *hold) begin(known []discovery.Instance, until time.Time) {
	h.missing, h.until = make(map[string]discovery.Instance), until
	for _, i := range known {
		if i.Health != discovery.Critical {
			h.missing[i.ID] = i
		}
	}
}

// merge returns the answer with those that it still misses. Who is back is held
// no longer: when it leaves, it has left. Who is back and waits for its first
// probe is not there yet.
func (h *hold) merge(answer []discovery.Instance) []discovery.Instance {
	if len(h.missing) == 0 {
		return answer
	}
	all := make(map[string]discovery.Instance, len(answer)+len(h.missing))
	taken := make(map[string]string, len(answer)) // address to ID
	for _, i := range answer {
		all[i.ID], taken[i.Address] = i, i.ID
	}
	for id, was := range h.missing {
		now, known := all[id]
		owner, used := taken[was.Address]
		if known && (now.Address != was.Address || now.Health <= was.Health) || used && owner != id {
			delete(h.missing, id)
			continue
		}
		all[id] = was
	}
	return slices.SortedFunc(maps.Values(all), func(a, b discovery.Instance) int { return cmp.Compare(a.ID, b.ID) })
}

// lostMemory says whether an answer is that of a Consul that does not know what
// it knew: its index went backwards, or a machine is there under another
// identity, or there is nobody left after it could not be asked for a while. The
// last is for a Consul so young that its new indexes are not below its old ones,
// and for an agent that has started: it takes instances for critical until they
// give a sign of life, and may tell of them as they were before it does.
func (w *watching) lostMemory(reset bool, instances []discovery.Instance, machines map[string]string) bool {
	if reset {
		return true
	}
	for name, id := range machines {
		if was, known := w.machines[name]; known && was != id {
			return true
		}
	}
	if callable(instances) {
		return false
	}
	return w.trouble || len(instances) > 0 && time.Now().Before(w.wary)
}

func callable(instances []discovery.Instance) bool {
	return slices.ContainsFunc(instances, func(i discovery.Instance) bool { return i.Health != discovery.Critical })
}
