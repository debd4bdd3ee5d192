package deadletter

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"time"

	"github.com/innermesh/innermesh/call"
)

// RecorderOptions configure a [Recorder]. Sink is required; every other zero
// value is the documented default.
type RecorderOptions struct {
	// Sink takes the letters.
	Sink Sink
	// All makes every request durable whose method is not GET, HEAD, OPTIONS or
	// TRACE. Default: only those that are marked [With].
	All bool
	// Request says how requests become letters.
	Request RequestOptions
	// KeepCanceled keeps calls too that the caller itself has given up. A
	// deadline that has passed is no such.
	KeepCanceled bool
	// Final says whether an HTTP call has failed for good, from its response or
	// its error, of which one is nil. Default: [Final].
	Final func(res *http.Response, err error) bool
	// Patience bounds how long the sink may take. The call's own deadline does
	// not: that is often just what has passed. Default 5 s.
	Patience time.Duration
	// Logger hears of a sink that fails. Default: slog.Default().
	Logger *slog.Logger
}

// Validate names every field that is missing or out of range.
func (o RecorderOptions) Validate() error {
	return errors.Join(required("Sink", o.Sink != nil), notNegative("Patience", o.Patience), o.Request.validate("Request"))
}

// Recorder keeps calls that have failed for good. It is safe for concurrent use.
type Recorder struct {
	o    RecorderOptions
	log  *slog.Logger
	tell trouble
}

// NewRecorder returns a recorder. It starts no goroutine.
func NewRecorder(o RecorderOptions) (*Recorder, error) {
	if err := o.Validate(); err != nil {
		return nil, fmt.Errorf("deadletter.RecorderOptions: %w", err)
	}
	if o.Final == nil {
		o.Final = Final
	}
	o.Patience = cmp.Or(o.Patience, 5*time.Second)
	r := &Recorder{o: o, log: o.Logger}
	if r.log == nil {
		r.log = slog.Default()
	}
	return r, nil
}

// Final says whether an HTTP call has failed for good: it ended in a
// [*call.Error], or in an answer that is the instance's fault or asks for less
// ([call.ClassifyHTTP] is not OK), which is what is left after all attempts.
// Errors of another kind come from a round tripper that is no mesh.
func Final(res *http.Response, err error) bool {
	if err != nil {
		_, ok := errors.AsType[*call.Error](err)
		return ok
	}
	return call.ClassifyHTTP(res.StatusCode) != call.OK
}

// Durable says whether a call of another protocol than HTTP must not be lost: it
// is marked, or All is set and it is not safe, which is to say that it may change
// something.
func (r *Recorder) Durable(ctx context.Context, safe bool) bool {
	_, durable := r.marked(ctx, safe)
	return durable
}

// marked says whether a call must not be lost, and how it is kept.
func (r *Recorder) marked(ctx context.Context, safe bool) (RequestOptions, bool) {
	o := r.o.Request
	m, marked := MarkFrom(ctx)
	if m.Off || !marked && (!r.o.All || safe) {
		return o, false
	}
	if m.Keep > 0 {
		o.Keep = m.Keep
	}
	if len(m.Labels) > 0 {
		labels := maps.Clone(m.Labels)
		for k, v := range o.Labels {
			if _, own := labels[k]; !own {
				labels[k] = v
			}
		}
		o.Labels = labels
	}
	return o, true
}

// Lost says whether a durable call that ended with cause is to be kept. A call
// that its caller has given up is only with KeepCanceled, one that is a letter
// already is not.
func (r *Recorder) Lost(ctx context.Context, cause error) bool {
	if _, kept := errors.AsType[*KeptError](cause); kept {
		return false
	}
	return cause != nil && (r.o.KeepCanceled || !canceled(ctx, cause))
}

// KeptError is the error of a call that has failed but is not lost. Find it with
// errors.AsType[*deadletter.KeptError](err).
type KeptError struct {
	// ID names the letter.
	ID string
	// Incomplete says that the body was too long to be kept as a whole, so that
	// the letter can be read but not be sent.
	Incomplete bool
	// Err is how the call failed.
	Err error
}

// Error says where the call is, and how it failed.
func (k *KeptError) Error() string {
	if k.Incomplete {
		return fmt.Sprintf("kept as letter %s, but for the end of its body, so not to be sent again: %v", k.ID, k.Err)
	}
	return fmt.Sprintf("kept as letter %s: %v", k.ID, k.Err)
}

// Unwrap returns how the call failed.
func (k *KeptError) Unwrap() error { return k.Err }

// Keep puts a call of any protocol that has failed with cause into the sink, and
// returns what its caller is told: a [*KeptError], or, when the sink fails as well, an
// error that is both. What the letter does not say is filled in; its secrets are
// taken out. A [Mark] in ctx counts; ctx's end does not keep the letter from
// being kept.
//
// The key must be the one that the call was made with. A letter without one gets
// one now, which does not keep its receiver from acting twice on what it has
// already seen.
func (r *Recorder) Keep(ctx context.Context, l Letter, cause error) error {
	l.Fill(time.Now())
	o, _ := r.marked(ctx, true)
	if most := o.maxBody(); len(l.Body) > most {
		l.Body, l.Incomplete = l.Body[:most], true
	}
	if l.Incomplete {
		l.State = Parked
	}
	secrets := o.apply(&l)
	a := Attempt{At: l.Created}
	a.fail(cause)
	if n := len(a.Each); n > 0 {
		a.At = a.Each[0].At
		a.Took = a.Each[n-1].At.Add(a.Each[n-1].Took).Sub(a.At)
	}
	a.Error = redact(a.Error, secrets)
	l.record(a)
	return r.put(ctx, l, cause)
}

func (r *Recorder) put(ctx context.Context, l Letter, cause error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.o.Patience)
	defer cancel()
	err := l.Validate()
	if err == nil {
		if err = r.o.Sink.Put(ctx, l); errors.Is(err, ErrExists) {
			err = nil // somebody has handed it in twice
		}
		r.tell.about(ctx, r.log, "put", err)
	}
	if err != nil {
		return fmt.Errorf("%w; and it could not be kept as a dead letter: %w", cause, err)
	}
	return &KeptError{ID: l.ID, Incomplete: l.Incomplete, Err: cause}
}
