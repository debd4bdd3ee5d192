package intention

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net/url"
	"sync"
	"sync/atomic"

	"github.com/innermesh/innermesh/internal/consul"
	"github.com/innermesh/innermesh/tlsutil"
)

// Judge holds the rules in force. It is safe for concurrent use; a decision waits
// for nothing.
type Judge struct {
	o     atomic.Pointer[Options]
	log   *slog.Logger
	rules atomic.Pointer[Rules]

	mu   sync.Mutex  // one change at a time; guards what follows and o
	list []Intention // those in force
	told string      // the last refusals in the log
}

// NewJudge returns a judge without rules. log hears of what is refused as a
// whole and of intentions that are not supported, once each; nil is
// slog.Default().
func NewJudge(o Options, log *slog.Logger) (*Judge, error) {
	if err := o.Validate(); err != nil {
		return nil, fmt.Errorf("intentions: %w", err)
	}
	if log == nil {
		log = slog.Default()
	}
	j := &Judge{log: log}
	j.o.Store(&o)
	return j, nil
}

// Accept puts intentions in force, for the next decision on. If they are refused,
// what was in force stays.
func (j *Judge) Accept(list []Intention) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.accept(list)
}

// Begin is Accept for what may be out of date: it changes nothing if there are
// rules in force.
func (j *Judge) Begin(list []Intention) (begun bool, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.rules.Load() != nil {
		return false, nil
	}
	err = j.accept(list)
	return err == nil, err
}

// accept is Accept for a caller that holds the lock.
func (j *Judge) accept(list []Intention) error {
	rules, err := Compile(list, *j.o.Load())
	if err == nil {
		j.rules.Store(rules)
		j.list = list
	}
	if err != nil {
		j.tell("refused; those before stay in force", err)
	} else {
		j.tell("those not supported refuse all they are for", rules.Refused())
	}
	return err
}

// Revise has the intentions read in another way from now on: in another trust
// domain, under another default policy. Empty and wrong options change nothing.
func (j *Judge) Revise(change func(*Options)) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	o := *j.o.Load()
	change(&o)
	if o == *j.o.Load() {
		return nil
	}
	if err := o.Validate(); err != nil {
		return fmt.Errorf("intentions: %w", err)
	}
	if j.rules.Load() != nil {
		rules, err := Compile(j.list, o)
		if err != nil {
			return err
		}
		j.rules.Store(rules)
	}
	j.o.Store(&o)
	return nil
}

// Rules returns those in force, nil if there are none.
func (j *Judge) Rules() *Rules { return j.rules.Load() }

// tell logs what is wrong, if it is news. The caller holds the lock.
func (j *Judge) tell(message string, err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	if text != "" && text != j.told {
		j.log.Error("intentions", "state", message, "service", j.o.Load().Service, "error", err)
	}
	j.told = text
}

// Decide is that of the rules in force.
func (j *Judge) Decide(caller tlsutil.ServiceID, req *Request) Decision {
	if r := j.rules.Load(); r != nil {
		return r.Decide(caller, req)
	}
	d := j.without(caller)
	d.Path = req.Path
	return d
}

// DecideConnection is that of the rules in force.
func (j *Judge) DecideConnection(caller tlsutil.ServiceID) Decision {
	if r := j.rules.Load(); r != nil {
		return r.DecideConnection(caller)
	}
	return j.without(caller)
}

// without decides as long as no rules are known.
func (j *Judge) without(caller tlsutil.ServiceID) Decision {
	o := j.o.Load()
	if caller.TrustDomain != o.TrustDomain {
		return Decision{DryRun: o.DryRun, Reason: Foreign}
	}
	return Decision{Allowed: o.WithoutRules == Allow, DryRun: o.DryRun, Reason: NoRules}
}

// Follow puts in force what Consul says, until ctx ends, whose error it returns,
// or the client is closed. The token needs intention:read on the service, which
// service:read implies. What is in force stays while Consul can not be asked.
//
// told, if not nil, hears of each answer after it was put in force, and of each
// reason why there is none, from the goroutine of Follow.
func (j *Judge) Follow(ctx context.Context, client *consul.Client, told func(body []byte, err error)) error {
	q := consul.Query{
		Path: "/v1/connect/intentions/match", Read: consul.Cached,
		Params: url.Values{"by": {"destination"}, "name": {j.o.Load().Service}},
	}
	return client.Watch(ctx, q, func(r consul.Result) {
		body, err := j.take(ctx, client, q, r)
		if told != nil {
			told(body, err)
		}
	})
}

func (j *Judge) take(ctx context.Context, client *consul.Client, q consul.Query, r consul.Result) ([]byte, error) {
	if r.Err != nil {
		return nil, r.Err // the client has logged it
	}
	body := []byte(r.Body)
	list, err := Decode(body, j.o.Load().Service)
	if err == nil && len(list) == 0 && j.hasAny() {
		// A change of leaders can make a list look empty for a moment; under a
		// default policy of allow that would open everything.
		list, body, err = j.confirm(ctx, client, q)
	}
	if err != nil {
		j.mu.Lock()
		defer j.mu.Unlock()
		j.tell("they can not be read; those before stay in force", err)
		return nil, err
	}
	return body, j.Accept(list)
}

func (j *Judge) hasAny() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.list) > 0
}

// confirm asks the leader.
func (j *Judge) confirm(ctx context.Context, client *consul.Client, q consul.Query) ([]Intention, []byte, error) {
	params := url.Values{"consistent": {""}}
	maps.Copy(params, q.Params)
	r, err := client.Get(ctx, q.Path, params)
	if err != nil {
		return nil, nil, fmt.Errorf("confirm that there are no intentions any more: %w", err)
	}
	list, err := Decode(r.Body, j.o.Load().Service)
	return list, r.Body, err
}
