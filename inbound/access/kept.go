package access

import (
	"encoding/json"
	"net/url"

	"github.com/innermesh/innermesh/inbound/intention"
	"github.com/innermesh/innermesh/inbound/jwt"
)

// keptKind is what is kept, by service.
const keptKind = "access"

// kept is what was learned, as it lies on disk. There is no secret in it.
type kept struct {
	Intentions json.RawMessage `json:"intentions,omitzero"`
	Providers  json.RawMessage `json:"providers,omitzero"`
	Default    string          `json:"default,omitzero"`
}

// save keeps what has changed.
func (a *Access) save(change func(*kept)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	change(&a.kept)
	if a.o.Store == nil || a.kept.Intentions == nil {
		return
	}
	if data, err := json.Marshal(a.kept); err == nil { // it is what was read
		a.o.Store.Put(keptKind, a.o.Service, data)
	}
}

// useKept begins with what was kept, unless Consul has been faster.
func (a *Access) useKept() {
	if a.o.Store == nil || a.Known() {
		return
	}
	data, saved, ok := a.o.Store.Get(keptKind, a.o.Service)
	if !ok {
		return
	}
	var k kept
	err := json.Unmarshal(data, &k)
	var list []intention.Intention
	if err == nil {
		list, err = intention.Decode(k.Intentions, a.o.Service)
	}
	if err != nil {
		a.log.Warn("what was kept of the intentions can not be read", "service", a.o.Service, "error", err)
		return
	}
	if k.Default == "allow" {
		a.setDefault(intention.Allow)
	}
	if providers, err := jwt.Decode(k.Providers); err == nil && len(a.providers.Names()) == 0 {
		a.providers.Accept(providers)
		a.save(func(now *kept) { now.Providers = k.Providers })
	}
	begun, err := a.judge.Begin(list)
	switch {
	case err != nil:
		a.log.Warn("what was kept of the intentions is refused", "service", a.o.Service, "error", err)
	case begun:
		a.log.Warn("Consul is silent about intentions: going by what was kept", "service", a.o.Service, "since", saved)
		a.settle()
		a.changed()
	}
}

// storable leaves out what might be a secret: providers with keys that are not
// public, or whose addresses say more than where they are. Tokens of what is left
// out are refused as long as Consul is silent.
func storable(body []byte) json.RawMessage {
	list, err := jwt.Decode(body)
	if err != nil {
		return nil
	}
	var raw []json.RawMessage
	if json.Unmarshal(body, &raw) != nil || len(raw) != len(list) {
		return nil
	}
	good := []json.RawMessage{}
	for n := range list {
		if list[n].Public() && plain(list[n].JSONWebKeySet) {
			good = append(good, raw[n])
		}
	}
	out, err := json.Marshal(good)
	if err != nil {
		return nil
	}
	return out
}

func plain(set *jwt.KeySet) bool {
	if set == nil || set.Remote == nil {
		return true
	}
	u, err := url.Parse(set.Remote.URI)
	return err == nil && u.User == nil && u.RawQuery == ""
}
