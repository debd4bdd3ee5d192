package consul

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync"

	"github.com/innermesh/innermesh/internal/consul"
	"github.com/innermesh/innermesh/policy"
)

// following is one watch of one called service. All of it belongs to the
// goroutine that runs it; others only bring news.
type following struct {
	source  *Source
	service string
	tell    func(Update)

	watches sync.WaitGroup
	news    chan news
	ended   chan error

	proxy, caller, callee, chain part

	// The last good state of everything.
	proxyDefaults  proxyDefaults
	callerDefaults serviceDefaults
	calleeDefaults calleeDefaults
	upstream       upstream
	upstreamErr    error          // why upstream is not what the entries say now
	routing        policy.Service // by the chain
	limits         policy.Service // by the upstream configuration
	defaults       policy.Service
	extension      policy.Service
	defaultsErr    error
	extensionErr   error

	toldLayers bool
	told       Update // what the receiver has to go by: the layers last told, and Err if that came after
}

func newFollowing(s *Source, service string, tell func(Update)) *following {
	f := &following{source: s, service: service, tell: tell, news: make(chan news), ended: make(chan error)}
	f.proxy = part{what: "proxy-defaults", take: f.takeProxy}
	f.caller = part{what: "service-defaults " + quote(s.o.Service), take: f.takeCaller}
	f.callee = part{what: "service-defaults " + quote(service), take: f.takeCallee}
	f.chain = part{what: "discovery chain of " + quote(service), take: f.takeChain}
	return f
}

func (f *following) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer f.watches.Wait()
	defer cancel()
	f.ask(ctx, &f.proxy, entry("proxy-defaults", "global"))
	if f.source.o.Service != "" {
		f.ask(ctx, &f.caller, entry("service-defaults", f.source.o.Service))
	}
	for {
		select {
		case n := <-f.news:
			if n.asking != n.part.asking {
				continue
			}
			n.part.learn(n.result)
		case err := <-f.ended:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
		f.steer(ctx)
		f.report()
	}
}

// steer asks for what is needed next: how the chain is asked for depends on the
// entries, so it waits for them.
func (f *following) steer(ctx context.Context) {
	if !f.proxy.settled || f.caller.stop != nil && !f.caller.settled {
		return
	}
	// The callee's own entry counts only where chain and sidecars read
	// proxy-defaults differently.
	protocol, _ := f.proxyDefaults.protocol() // its error is told by merge
	var callee *calleeDefaults
	if protocol != "" && !f.callerDefaults.saysProtocol(f.service) {
		f.ask(ctx, &f.callee, entry("service-defaults", f.service))
		if !f.callee.settled {
			return
		}
		callee = &f.calleeDefaults
	} else {
		f.callee.forget()
	}
	f.merge(callee)
	f.ask(ctx, &f.chain, chainOf(f.service, &f.upstream))
}

// merge takes the upstream configuration if it is good.
func (f *following) merge(callee *calleeDefaults) {
	u, err := mergeUpstream(f.service, f.proxyDefaults, f.callerDefaults, callee)
	var limits policy.Service
	if err == nil {
		limits, err = u.service()
	}
	if f.upstreamErr = err; err == nil {
		f.upstream, f.limits = u, limits
	}
}

func (f *following) takeProxy(r consul.Result) error {
	p, err := decodeProxyDefaults(r.Body)
	if err != nil {
		return err
	}
	f.proxyDefaults = p
	s, err := fromConfig(p.Config, f.source.o.Prefix)
	if f.defaultsErr = err; err == nil {
		f.defaults = s
	}
	return nil
}

func (f *following) takeCaller(r consul.Result) error {
	s, err := decodeServiceDefaults(r.Body)
	if err == nil {
		f.callerDefaults = s
	}
	return err
}

func (f *following) takeCallee(r consul.Result) error {
	s, err := decodeServiceDefaults(r.Body)
	if err == nil {
		f.calleeDefaults = calleeDefaults{found: r.Found, protocol: s.Protocol}
	}
	return err
}

func (f *following) takeChain(r consul.Result) error {
	c, err := decodeChain(r.Body)
	if err != nil {
		return err
	}
	s, err := fromMeta(c.ServiceMeta, f.source.o.Prefix)
	if f.extensionErr = err; err == nil {
		f.extension = s
	}
	routing, err := compile(c, f.upstream.connect > 0)
	if err == nil {
		f.routing = routing
	}
	return err
}

// report tells what is new.
func (f *following) report() {
	if now := f.now(); f.settled() && (!f.toldLayers || !sameLayers(now, f.told) || f.told.Err != nil && f.wrong() == nil) {
		f.toldLayers, f.told = true, now
		f.tell(now)
	}
	if err := f.wrong(); err != nil && (f.told.Err == nil || f.told.Err.Error() != err.Error()) {
		f.told.Err = err
		f.tell(Update{Index: f.now().Index, Err: err})
	}
}

// settled says whether the layers can be told: from the first time that
// everything was answered or refused.
func (f *following) settled() bool { return f.toldLayers || f.chain.settled }

func (f *following) now() Update {
	entries := f.routing
	entries.Limits, entries.Ejection = f.limits.Limits, f.limits.Ejection
	entries.Timeout.Connect = f.limits.Timeout.Connect
	return Update{
		Entries:   policy.Layer{Name: "consul config entries", Service: entries},
		Defaults:  policy.Layer{Name: "consul proxy-defaults Config." + f.source.o.Prefix, Service: f.defaults},
		Extension: policy.Layer{Name: "consul service-defaults " + f.service + " Meta", Service: f.extension},
		Index:     max(f.proxy.index, f.caller.index, f.callee.index, f.chain.index),
	}
}

// sameLayers compares what the layers say, not when. Policies are plain data
// without methods of comparison, hence the reflection.
func sameLayers(a, b Update) bool {
	return reflect.DeepEqual(a.Layers(), b.Layers())
}

// wrong is all that is wrong now.
func (f *following) wrong() error {
	var all []error
	note := func(what string, err error) {
		if err != nil {
			all = append(all, fmt.Errorf("%s: %w", what, err))
		}
	}
	for _, p := range []*part{&f.proxy, &f.caller, &f.callee, &f.chain} {
		note(p.what, p.err)
	}
	note("upstream configuration", f.upstreamErr)
	note(f.proxy.what, f.defaultsErr)
	note(f.callee.what, f.extensionErr)
	if len(all) == 0 {
		return nil
	}
	return fmt.Errorf("what Consul says about calls to %s: %w", quote(f.service), errors.Join(all...))
}
