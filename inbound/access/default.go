package access

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/innermesh/innermesh/inbound/intention"
	"github.com/innermesh/innermesh/tlsutil"
)

const (
	// relearn is how often the default policy is asked for although nothing has
	// changed: it is the agent's configuration, which changes with its restart.
	relearn = 5 * time.Minute
	// learnAgain is the pause after a failure.
	learnAgain = 10 * time.Second
	// enough is how long one learning may take.
	enough = 10 * time.Second
)

// followDefault learns the default policy, again whenever rules have changed,
// since that may be when it can be seen.
func (a *Access) followDefault(ctx context.Context) {
	for {
		news := a.changing()
		wait := relearn
		if a.Known() {
			if a.o.Default == "" && !a.learn(ctx) {
				wait = learnAgain
			}
			a.settle()
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-news:
		case <-timer.C:
		}
		if timer.Stop(); ctx.Err() != nil {
			return
		}
	}
}

// learn asks, and keeps what was known if there is no answer.
func (a *Access) learn(ctx context.Context) bool {
	limited, cancel := context.WithTimeout(ctx, enough)
	defer cancel()
	policy, err := a.ask(limited)
	if ctx.Err() != nil {
		return false
	}
	text := ""
	if err != nil {
		text = err.Error()
	}
	a.mu.Lock()
	news := text != a.failed
	a.failed = text
	known := a.kept.Default
	a.mu.Unlock()
	if err != nil {
		if news {
			a.log.Warn("the default policy for intentions can not be learned; set it, or let the token ask", "service", a.o.Service,
				"in_force", cmp.Or(known, "deny"), "error", err)
		}
		return false
	}
	if policy.String() != known {
		a.log.Info("default policy for intentions", "service", a.o.Service, "policy", policy.String())
		a.setDefault(policy)
	}
	return true
}

func (a *Access) setDefault(policy intention.Action) {
	a.save(func(k *kept) { k.Default = policy.String() })
	if a.o.Default != "" {
		return
	}
	if err := a.judge.Revise(func(o *intention.Options) { o.Default = policy }); err != nil {
		a.log.Error("intentions can not be read with the default policy", "service", a.o.Service, "error", err)
		return
	}
	a.changed()
}

// nobody is the name of a source that no intention names.
const nobody = "innermesh-asks-for-the-default"

// ask learns the default policy, which no interface for the mesh tells: from how
// the agent authorizes somebody about whom there is no intention, as it would
// for its own proxy. If there is one for everybody, the same about the sidecar
// that the service might have, on which a service's token has the same rights.
// Else from the agent's configuration, which needs agent:read.
func (a *Access) ask(ctx context.Context) (intention.Action, error) {
	var faults []error
	for _, target := range []string{a.o.Service, a.o.Service + "-sidecar-proxy"} {
		policy, err := a.probe(ctx, target)
		if err == nil {
			return policy, nil
		}
		faults = append(faults, err)
	}
	policy, err := a.configured(ctx)
	if err == nil {
		return policy, nil
	}
	return intention.Deny, errors.Join(append(faults, err)...)
}

// errSpoken is why an answer says nothing about the default.
var errSpoken = errors.New("there is an intention for everybody")

func (a *Access) probe(ctx context.Context, target string) (intention.Action, error) {
	r, err := a.o.Client.Get(ctx, "/v1/connect/intentions/match", url.Values{"by": {"destination"}, "name": {target}})
	if err != nil {
		return intention.Deny, fmt.Errorf("intentions of %s: %w", target, err)
	}
	list, err := intention.Decode(r.Body, target)
	if err != nil {
		return intention.Deny, err
	}
	rules, err := intention.Compile(list, intention.Options{Service: target, TrustDomain: nowhere})
	if err != nil {
		return intention.Deny, err
	}
	who := tlsutil.ServiceID{TrustDomain: nowhere, Datacenter: "any", Service: nobody}
	if d := rules.DecideConnection(who); d.Reason != intention.ByDefault {
		return intention.Deny, fmt.Errorf("%s: %w", target, errSpoken)
	}
	id, err := who.ID()
	if err != nil {
		return intention.Deny, err
	}
	question := map[string]string{"Target": target, "ClientCertURI": id.String(), "ClientCertSerial": "0"}
	r, err = a.o.Client.Post(ctx, "/v1/agent/connect/authorize", question)
	if err != nil {
		return intention.Deny, fmt.Errorf("default policy for %s: %w", target, err)
	}
	var answer struct {
		Authorized *bool  `json:"Authorized"`
		Reason     string `json:"Reason"`
	}
	switch err := json.Unmarshal(r.Body, &answer); {
	case err != nil || answer.Authorized == nil:
		return intention.Deny, fmt.Errorf("default policy for %s: the answer can not be read", target)
	case strings.HasPrefix(answer.Reason, "Matched"): // an intention that is newer than the list, or older
		return intention.Deny, fmt.Errorf("%s: %w", target, errSpoken)
	case *answer.Authorized:
		return intention.Allow, nil
	}
	return intention.Deny, nil
}

// configured reads the agent's configuration: its default_intention_policy, else
// that of access control, else everybody is allowed.
func (a *Access) configured(ctx context.Context) (intention.Action, error) {
	r, err := a.o.Client.Get(ctx, "/v1/agent/self", nil)
	if err != nil {
		return intention.Deny, fmt.Errorf("default policy: %w", err)
	}
	var self struct {
		DebugConfig struct {
			DefaultIntentionPolicy *string `json:"DefaultIntentionPolicy"`
			ACLsEnabled            bool    `json:"ACLsEnabled"`
			ACLResolverSettings    struct {
				ACLDefaultPolicy string `json:"ACLDefaultPolicy"`
			} `json:"ACLResolverSettings"`
		} `json:"DebugConfig"`
	}
	if err := json.Unmarshal(r.Body, &self); err != nil || self.DebugConfig.DefaultIntentionPolicy == nil {
		return intention.Deny, errors.New("default policy: the agent does not tell its configuration")
	}
	c := self.DebugConfig
	word := *c.DefaultIntentionPolicy
	if word == "" && c.ACLsEnabled {
		word = c.ACLResolverSettings.ACLDefaultPolicy
	}
	switch {
	case word == "allow", word == "" && !c.ACLsEnabled:
		return intention.Allow, nil
	default:
		return intention.Deny, nil
	}
}
