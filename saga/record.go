package saga

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Status is where a saga stands.
type Status string

// The statuses. Completed and Compensated are the two ends.
const (
	// Running: it goes forward.
	Running Status = "running"
	// Compensating: it goes back.
	Compensating Status = "compensating"
	// Stuck: it can go neither way until somebody has looked at it.
	Stuck Status = "stuck"
	// Completed: all steps are done.
	Completed Status = "completed"
	// Compensated: all that was done is undone.
	Compensated Status = "compensated"
)

// Ended says whether nothing will happen any more.
func (s Status) Ended() bool { return s == Completed || s == Compensated }

func (s Status) valid() bool {
	return slices.Contains([]Status{Running, Compensating, Stuck, Completed, Compensated}, s)
}

// StepStatus is where a step stands.
type StepStatus string

// The statuses of a step.
const (
	// Pending: it was not begun.
	Pending StepStatus = "pending"
	// Begun: an attempt was begun, and nobody has said that it succeeded.
	Begun StepStatus = "begun"
	// Done: it has succeeded.
	Done StepStatus = "done"
	// Failed: it has failed for good, and may have had an effect all the same.
	Failed StepStatus = "failed"
	// Undoing: an attempt to undo it was begun.
	Undoing StepStatus = "undoing"
	// Undone: it was undone, or had no effect to undo.
	Undone StepStatus = "undone"
)

func (s StepStatus) valid() bool {
	return slices.Contains([]StepStatus{Pending, Begun, Done, Failed, Undoing, Undone}, s)
}

// Record is all that is known of a saga, as a [Log] keeps it. Printed with %v or
// logged it does not show its state.
type Record struct { //nolint:recvcheck // a record printed by value must keep its state to itself too
	Type

	// ID names the saga among all in the log: 1 to 200 printable ASCII characters.
	ID string `json:"id"`
	// Input is a digest of the state that the saga was started with.
	Input string `json:"input"`
	// Key is what the idempotency keys of its steps are derived from.
	Key string `json:"key"`

	// Trace is the trace that the saga was started in, see [Options].
	Trace map[string]string `json:"trace,omitzero"`

	Status Status `json:"status"`
	// Back says that the saga has turned back; a stuck one may face either way.
	Back bool `json:"back,omitzero"`
	// Steps stand in the order of the definition, those of groups included.
	Steps []StepRecord `json:"steps"`
	// State is the saga's state, as JSON.
	State json.RawMessage `json:"state"`
	// Error says why the saga has turned back, or why it is stuck.
	Error string `json:"error,omitzero"`
	// Note is what was said when it was resolved by hand.
	Note string `json:"note,omitzero"`
	// Stuck counts how often it was stuck.
	Stuck int `json:"stuck,omitzero"`

	Created time.Time `json:"created"`
	Updated time.Time `json:"updated"`
	// Deadline is when the saga turns back. Zero: never.
	Deadline time.Time `json:"deadline,omitzero"`
	// Ended is when it was completed or compensated.
	Ended time.Time `json:"ended,omitzero"`

	// NotBefore is when there is something to do again.
	NotBefore time.Time `json:"notBefore,omitzero"`
	// Owner is who carries the saga out, until LeasedUntil.
	Owner       string    `json:"owner,omitzero"`
	LeasedUntil time.Time `json:"leasedUntil,omitzero"`
	// Token grows with each owner: it is the fencing token of what they do.
	Token uint64 `json:"token"`
}

// StepRecord is all that is known of a step.
type StepRecord struct {
	Name   string     `json:"name"`
	Status StepStatus `json:"status"`
	// Attempts counts those of Do, Undos those of Undo.
	Attempts int `json:"attempts,omitzero"`
	Undos    int `json:"undos,omitzero"`
	// Effect says that Do may have changed something.
	Effect bool `json:"effect,omitzero"`
	// Error is how the last attempt failed.
	Error string `json:"error,omitzero"`
	// Next is the earliest time of the next attempt.
	Next time.Time `json:"next,omitzero"`
	// Changed names the fields of the state that a step of a group has changed.
	Changed []string `json:"changed,omitzero"`
	// Own is what a step of a group has changed if that was not taken over.
	Own json.RawMessage `json:"own,omitzero"`
	// Began and Ended are the times of the first attempt and of the last change.
	Began time.Time `json:"began,omitzero"`
	Ended time.Time `json:"ended,omitzero"`
}

const (
	maxID    = 200
	maxText  = 1 << 10
	maxState = 16 << 20
	maxTrace = 16 << 10
)

// Validate names everything that is wrong with the record.
func (r *Record) Validate() error {
	var faults []error
	fault := func(bad bool, field, format string, args ...any) {
		if bad {
			faults = append(faults, fmt.Errorf("%s "+format, append([]any{field}, args...)...))
		}
	}
	faults = append(faults, checkID(r.ID))
	fault(!validName(r.Name), "Name", "is %.120q: want 1 to %d letters, digits or any of -_.:/", r.Name, maxName)
	fault(r.Version < 1, "Version", "is %d: must be positive", r.Version)
	fault(r.Key == "", "Key", "is empty")
	fault(!r.Status.valid(), "Status", "is %.80q: it is none", string(r.Status))
	fault(r.Status.Ended() == r.Ended.IsZero(), "Ended", "is %v in the status %s", r.Ended, r.Status)
	fault(len(r.Steps) == 0, "Steps", "is empty")
	for i := range r.Steps {
		s := &r.Steps[i]
		fault(!validName(s.Name), fmt.Sprintf("Steps[%d].Name", i), "is %.120q", s.Name)
		fault(!s.Status.valid(), fmt.Sprintf("Steps[%d].Status", i), "is %.80q: it is none", string(s.Status))
		fault(s.Attempts < 0 || s.Undos < 0, fmt.Sprintf("Steps[%d].Attempts, Undos", i), "are %d, %d: must not be negative", s.Attempts, s.Undos)
	}
	fault(traceSize(r.Trace) > maxTrace, "Trace", "has %d bytes, at most %d are taken", traceSize(r.Trace), maxTrace)
	fault(!json.Valid(r.State), "State", "is not JSON")
	fault(len(r.State) > maxState, "State", "has %d bytes, at most %d are taken: keep a pointer to what is large", len(r.State), maxState)
	return errors.Join(faults...)
}

// Leased says whether somebody carries the saga out.
func (r *Record) Leased(now time.Time) bool { return now.Before(r.LeasedUntil) }

// Clone returns a copy that shares nothing with r.
func (r *Record) Clone() Record {
	c := *r
	c.State = slices.Clone(r.State)
	c.Trace = maps.Clone(r.Trace)
	c.Steps = slices.Clone(r.Steps)
	for i := range c.Steps {
		c.Steps[i].Changed = slices.Clone(c.Steps[i].Changed)
		c.Steps[i].Own = slices.Clone(c.Steps[i].Own)
	}
	return c
}

// String names the saga without its state.
func (r Record) String() string {
	return fmt.Sprintf("saga %s (%s version %d, %s)", r.ID, r.Name, r.Version, r.Status)
}

func traceSize(trace map[string]string) (n int) {
	for name, value := range trace {
		n += len(name) + len(value)
	}
	return n
}

func checkID(id string) error {
	if id == "" || len(id) > maxID || strings.ContainsFunc(id, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return fmt.Errorf("ID is %.220q: want 1 to %d printable ASCII characters without spaces", id, maxID)
	}
	return nil
}

func clip(s string) string {
	s = strings.ToValidUTF8(s, string(utf8.RuneError))
	if len(s) > maxText {
		return strings.ToValidUTF8(s[:maxText], "") + "…"
	}
	return s
}
