package consul

import (
	"context"
	"encoding/json"
	"errors"
	"net/url"
	"strings"
	"time"

	"github.com/innermesh/innermesh/internal/consul"
)

// digEvery is how often the living look for the dead of their service, as agents
// do.
const digEvery = 30 * time.Second

// graves are the dead of a service, by their nodes: since when each is known to be.
type graves struct {
	since   map[string]death
	refused bool // and told
}

type death struct {
	session string
	at      time.Time
}

// bury removes siblings that have been dead for the time that they wanted. Of
// their time a sibling knows only what it has seen itself.
func (k *catalogKeeper) bury(ctx context.Context) {
	ctx, cancel := k.soon(ctx)
	defer cancel()
	params := url.Values{"filter": {`Type == "session" and Status == "critical"`}, "dc": {""}}
	res, err := k.client.Get(ctx, "/v1/health/checks/"+url.PathEscape(k.service), params)
	var dead []catalogCheck
	if err != nil || json.Unmarshal(res.Body, &dead) != nil {
		return // it is tried again, and keeping tells of troubles
	}
	for _, c := range k.graves.due(dead, k.node, time.Now()) {
		switch err := k.removeDead(ctx, c); {
		case err == nil:
			k.log.Info("removed from Consul's catalog: it has given no sign of life",
				"service", k.service, "instance", c.ServiceID, "for", c.Definition.Forget)
		case errors.Is(err, consul.ErrPermission) && !k.graves.refused:
			k.graves.refused = true
			k.log.Warn("what has died is not removed from Consul's catalog: this needs node:write on its node",
				"service", k.service, "node", c.Node, "error", err)
		}
	}
}

// due remembers the dead and returns those whose time is over.
func (g *graves) due(dead []catalogCheck, self string, now time.Time) (due []catalogCheck) {
	since := make(map[string]death, len(dead))
	for _, c := range dead {
		forget, err := time.ParseDuration(c.Definition.Forget)
		if err != nil || c.Node == self || c.CheckID != livesID(c.ServiceID) || c.Node != nodePrefix+c.ServiceID ||
			!strings.HasPrefix(c.Definition.SessionName, c.Node+"-") {
			continue // not one of ours
		}
		d, known := g.since[c.Node]
		if !known || d.session != c.Definition.SessionName { // it was alive meanwhile
			d = death{c.Definition.SessionName, now}
		}
		since[c.Node] = d
		if now.Sub(d.at) >= max(forget, time.Minute) {
			due = append(due, c)
		}
	}
	g.since = since
	return due
}

// removeDead removes a node if nobody has registered there since it was found
// dead: who comes back has another check.
func (k *catalogKeeper) removeDead(ctx context.Context, c catalogCheck) error {
	type operation map[string]any
	return k.client.Put(ctx, "/v1/txn", ours, []operation{
		{"Check": operation{"Verb": "delete-cas", "Check": operation{
			"Node": c.Node, "CheckID": c.CheckID, "ModifyIndex": c.ModifyIndex,
		}}},
		{"Node": operation{"Verb": "delete", "Node": operation{"Node": c.Node}}},
	})
}
