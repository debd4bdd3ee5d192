package saga

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Definition says what the sagas of one name do. S is their state: it is saved as
// JSON after each step, so what JSON does not carry is lost. A definition must
// not be changed once a coordinator has it.
type Definition[S any] struct {
	// Name names the definition: up to 100 characters, letters, digits and any
	// of "-_.:/". Required.
	Name string
	// Version is raised whenever Steps change, while the old definition stays
	// registered beside the new one until its sagas have ended. Default 1.
	Version int
	// Steps are carried out in this order. At least one is required.
	Steps []Step[S]
	// Timeout is how long a saga may take, from its start to the pivot or, if
	// there is none, to its end; then it turns back. A pivot that was begun is not
	// given up for it. Default: no bound.
	Timeout time.Duration
}

// Step is a part of a saga.
type Step[S any] struct {
	// Name names the step within its saga, under the same rules as a
	// definition's name. Required, but for a step that is a group.
	Name string
	// Do carries the step out. Each attempt begins with the state as it was
	// saved; what Do changes in it is saved if it returns nil. It must return soon
	// after its context ends. Required, but for a group. See [Permanent] and
	// [NoEffect] for what it can say beyond an error.
	Do func(ctx context.Context, state *S) error
	// Undo takes back what Do has done, or may have done. Default: nothing is to
	// be taken back.
	Undo func(ctx context.Context, state *S) error
	// Pivot marks the step after whose success there is no way back. One step may
	// be it, and none in a group.
	Pivot bool
	// Together makes this step a group: its steps are carried out at the same
	// time, and undone at the same time. Each has a copy of the state; what it
	// changes is taken over field by field, of JSON's top level, and two that
	// change the same field to different values is an error of the second, see
	// [ErrConflict]. A group has nothing but Together.
	Together []Step[S]

	// Timeout bounds each attempt, of Do and of Undo. Default 30 s; negative: none.
	Timeout time.Duration
	// Retry says how Do is tried again. Its Attempts are 5 by default before the
	// pivot, and without bound from the pivot on.
	Retry Retry
	// UndoRetry says how Undo is tried again. Its Attempts are 10 by default;
	// then the saga is stuck.
	UndoRetry Retry
	// Revision changes what the definition is known by: change it when the code
	// of the step changes such that sagas under way must not meet the new code.
	Revision string
}

const (
	defaultTimeout      = 30 * time.Second
	defaultAttempts     = 5
	defaultUndoAttempts = 10
	maxName             = 100
)

// Validate names everything that is wrong with the definition.
func (d *Definition[S]) Validate() error {
	_, err := d.plan()
	return err
}

// Type returns what the definition is known by in the log.
func (d *Definition[S]) Type() Type {
	p, _ := d.plan()
	return p.Type
}

// State returns the state of a saga of this definition, as it was last saved.
func (d *Definition[S]) State(r Record) (s S, err error) {
	if r.Name != d.Name {
		return s, fmt.Errorf("read the state of saga %s: it is one of %s, not of %s", r.ID, r.Name, d.Name)
	}
	if err := json.Unmarshal(r.State, &s); err != nil {
		return s, fmt.Errorf("read the state of saga %s: %w", r.ID, err)
	}
	return s, nil
}

// Runnable is a [*Definition] of whatever state.
type Runnable interface {
	Type() Type
	Validate() error

	plan() (*plan, error)
}

// plan is a definition as the coordinator sees it, its state being bytes.
type plan struct {
	Type

	timeout time.Duration
	groups  [][]*step // of one, most of them
	steps   []*step
	pivot   int // its index in steps, len(steps) if there is none
}

// step is a step in a plan.
type step struct {
	name     string
	index    int
	group    bool
	revision string
	do, undo func(ctx context.Context, state json.RawMessage) (json.RawMessage, error)
	timeout  time.Duration
	retry    Retry
	back     Retry
}

func (d *Definition[S]) plan() (*plan, error) {
	p := &plan{Type: Type{Name: d.Name, Version: cmp.Or(d.Version, 1)}, timeout: d.Timeout, pivot: -1}
	var faults []error
	fault := func(bad bool, field, format string, args ...any) {
		if bad {
			faults = append(faults, fmt.Errorf("%s "+format, append([]any{field}, args...)...))
		}
	}
	fault(!validName(d.Name), "Name", "is %.120q: want 1 to %d letters, digits or any of -_.:/", d.Name, maxName)
	fault(d.Version < 0, "Version", "is %d: must not be negative", d.Version)
	fault(d.Timeout < 0, "Timeout", "is %v: must not be negative", d.Timeout)
	fault(len(d.Steps) == 0, "Steps", "is empty: want one at least")
	names := map[string]bool{}
	add := func(field string, s Step[S], group bool) *step {
		fault(!validName(s.Name), field+".Name", "is %.120q: want 1 to %d letters, digits or any of -_.:/", s.Name, maxName)
		fault(names[s.Name], field+".Name", "is %q, as another step's", s.Name)
		fault(s.Do == nil, field+".Do", "is nil: it is required")
		fault(group && s.Pivot, field+".Pivot", "is set in a group: let the pivot stand alone")
		fault(group && s.Together != nil, field+".Together", "is a group in a group: list its steps in the outer one")
		fault(s.Pivot && p.pivot >= 0, field+".Pivot", "is set, and was set before: there is one point of no return")
		fault(!s.Pivot && p.pivot >= 0 && s.Undo != nil, field+".Undo", "is set, and would never be called: the step is after the pivot")
		faults = append(faults, s.Retry.validate(field+".Retry"), s.UndoRetry.validate(field+".UndoRetry"))
		names[s.Name] = true
		n := &step{name: s.Name, index: len(p.steps), group: group, revision: s.Revision, timeout: cmp.Or(s.Timeout, defaultTimeout)}
		n.do, n.undo = untyped(s.Do), untyped(s.Undo)
		n.retry, n.back = s.Retry.withDefaults(defaultAttempts), s.UndoRetry.withDefaults(defaultUndoAttempts)
		if s.Pivot || p.pivot >= 0 {
			n.retry = s.Retry.withDefaults(-1)
		}
		if s.Pivot {
			p.pivot = n.index
		}
		p.steps = append(p.steps, n)
		return n
	}
	for i, s := range d.Steps {
		field := fmt.Sprintf("Steps[%d]", i)
		if s.Together == nil {
			p.groups = append(p.groups, []*step{add(field, s, false)})
			continue
		}
		fault(s.Name != "" || s.Do != nil || s.Undo != nil || s.Pivot, field, "is a group: it has nothing but Together")
		fault(len(s.Together) < 2, field+".Together", "has %d steps: want two at least", len(s.Together))
		var group []*step
		for j, s := range s.Together {
			group = append(group, add(fmt.Sprintf("%s.Together[%d]", field, j), s, true))
		}
		p.groups = append(p.groups, group)
	}
	if p.pivot < 0 {
		p.pivot = len(p.steps)
	}
	p.Fingerprint = p.fingerprint()
	return p, errors.Join(faults...)
}

// untyped lets fn work on a state that is bytes.
func untyped[S any](fn func(context.Context, *S) error) func(context.Context, json.RawMessage) (json.RawMessage, error) {
	if fn == nil {
		return nil
	}
	return func(ctx context.Context, state json.RawMessage) (json.RawMessage, error) {
		s := new(S)
		if err := json.Unmarshal(state, s); err != nil {
			return nil, Permanent(fmt.Errorf("read the state: %w", err))
		}
		if err := fn(ctx, s); err != nil {
			return nil, err
		}
		next, err := json.Marshal(s)
		if err != nil {
			return nil, Permanent(fmt.Errorf("write the state: %w", err))
		}
		return next, nil
	}
}

func validName(s string) bool {
	return s != "" && len(s) <= maxName && !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("-_.:/", r)
	})
}
