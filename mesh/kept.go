package mesh

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/innermesh/innermesh/discovery"
	"github.com/innermesh/innermesh/internal/lastgood"
	"github.com/innermesh/innermesh/policy"
)

// The kinds of states that are kept on disk.
const (
	keptInstances = "instances"
	keptPolicy    = "policy"
)

// keptFormat changes when what is kept can not be read by older programs, or
// theirs by us.
const keptFormat = "2"

// keptSource is a source whose last answers are kept on disk: they are used when
// a program starts and the source is silent.
type keptSource struct {
	discovery.Source
	store *lastgood.Store
	log   *slog.Logger
}

// Watch implements [discovery.Source].
func (k *keptSource) Watch(ctx context.Context, service string, tell func(discovery.Update)) error {
	return k.WatchQuery(ctx, discovery.Query{Service: service}, tell)
}

// WatchQuery implements [discovery.Querier].
func (k *keptSource) WatchQuery(ctx context.Context, q discovery.Query, tell func(discovery.Update)) error {
	key := strings.Join([]string{q.Service, q.Filter, q.Datacenter, q.Namespace, q.Partition, q.Peer}, "\n")
	load := sync.OnceValues(func() (*discovery.Snapshot, time.Time) { return k.load(key) })
	r := startRace(func() {
		if snapshot, saved := load(); snapshot != nil {
			k.log.Warn("discovery is silent: serving instances that were kept", "service", q.Service, "since", saved)
			tell(discovery.Update{Snapshot: *snapshot})
		}
	})
	defer r.end()
	watch := func(tell func(discovery.Update)) error { return discovery.WatchQuery(ctx, k.Source, q, tell) }
	if s, ok := k.Source.(knowing); ok {
		known := func() (s discovery.Snapshot) {
			if kept, _ := load(); kept != nil {
				s = *kept
			}
			return s
		}
		watch = func(tell func(discovery.Update)) error { return s.WatchKnown(ctx, q, known, tell) }
	}
	return watch(func(u discovery.Update) {
		if u.Err != nil {
			r.give() // before the error: then there is something to go on with
			tell(u)
			return
		}
		r.alive(func() { tell(u) })
		k.save(key, u.Snapshot)
	})
}

// knowing is a source that makes something of what is known already: it does not
// believe a registry that has forgotten all of it.
type knowing interface {
	WatchKnown(ctx context.Context, q discovery.Query, known func() discovery.Snapshot, tell func(discovery.Update)) error
}

// load returns what was kept, and since when; nil if there is nothing.
func (k *keptSource) load(key string) (*discovery.Snapshot, time.Time) {
	data, saved, ok := k.store.Get(keptInstances, key)
	kept := new(keptSnapshot)
	if !ok || json.Unmarshal(data, kept) != nil { //nolint:musttag // see keptSnapshot
		return nil, saved
	}
	for _, i := range kept.Instances {
		if i.Validate() != nil {
			return nil, saved // of another version, in spite of its checksum
		}
	}
	return (*discovery.Snapshot)(kept), saved
}

func (k *keptSource) save(key string, s discovery.Snapshot) {
	if data, err := json.Marshal(keptSnapshot(s)); err == nil { //nolint:musttag // see keptSnapshot
		k.store.Put(keptInstances, key, data)
	}
}

// keptPolicies is a source of policies of which the same is true.
type keptPolicies struct {
	policySource
	store *lastgood.Store
	log   *slog.Logger
}

// keptUpdate is what a source has said, as it lies on disk.
type keptUpdate struct {
	What   string      `json:"what"`
	Layers []keptLayer `json:"layers"`
}

// keptLayer is a layer of it.
type keptLayer struct {
	Slot     slot            `json:"slot"`
	Name     string          `json:"name"`
	Document json.RawMessage `json:"document"`
}

// keptSnapshot is a snapshot as it lies on disk. Instances are plain data, by
// the names of their fields.
type keptSnapshot struct {
	Instances []discovery.Instance `json:"instances"`
	Unknown   bool                 `json:"unknown,omitzero"`
}

func (k *keptPolicies) watch(ctx context.Context, service string, tell func(policyUpdate)) error {
	key := k.name() + "\n" + service
	r := startRace(func() {
		if u, saved, ok := k.load(key); ok {
			k.log.Warn("the source of policies is silent: going by what was kept", "source", k.name(), "service", service, "since", saved)
			tell(u)
		}
	})
	defer r.end()
	return k.policySource.watch(ctx, service, func(u policyUpdate) {
		if u.unknown {
			r.give()
			tell(u)
			return
		}
		u.taken = func() { k.save(key, u) } // and what contradicts others is not kept
		r.alive(func() { tell(u) })
	})
}

func (k *keptPolicies) load(key string) (u policyUpdate, saved time.Time, ok bool) {
	data, saved, ok := k.store.Get(keptPolicy, key)
	var kept keptUpdate
	if !ok {
		return u, saved, false
	}
	unread := func(err error) (policyUpdate, time.Time, bool) {
		k.log.Warn("what was kept of the policies can not be read", "source", k.name(), "error", err)
		return policyUpdate{}, saved, false
	}
	if err := json.Unmarshal(data, &kept); err != nil {
		return unread(err)
	}
	u = policyUpdate{what: kept.What, layers: make(map[slot]policy.Layer), found: true, kept: true}
	for _, l := range kept.Layers {
		s, err := policy.Decode(l.Document, l.Name)
		if err != nil {
			return unread(err)
		}
		if l.Slot < 0 || l.Slot >= slots {
			return unread(fmt.Errorf("layer %d is not known", l.Slot))
		}
		u.layers[l.Slot] = policy.Layer{Name: fmt.Sprintf("%s (kept since %s)", l.Name, saved.UTC().Format(time.RFC3339)), Service: s}
	}
	return u, saved, true
}

func (k *keptPolicies) save(key string, u policyUpdate) {
	kept := keptUpdate{What: u.what}
	for i := range slots {
		l, ok := u.layers[i]
		if !ok {
			continue
		}
		document, err := json.Marshal(l.Service)
		if err != nil {
			return // a policy that code has made up; there is nothing to keep
		}
		kept.Layers = append(kept.Layers, keptLayer{i, l.Name, document})
	}
	if data, err := json.Marshal(kept); err == nil { // it is plain data
		k.store.Put(keptPolicy, key, data)
	}
}
