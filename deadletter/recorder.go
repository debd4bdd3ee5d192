package deadletter

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
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
	// Final says whether a call has failed for good, from its response or its
	// error, of which one is nil. Default: [Final].
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
// taken out. ctx's end does not keep it from being kept.
//
// The key must be the one that the call was made with. A letter without one gets
// one now, which does not keep its receiver from acting twice on what it has
// already seen.
func (r *Recorder) Keep(ctx context.Context, l Letter, cause error) error {
	l.Fill(time.Now())
	if most := r.o.Request.maxBody(); len(l.Body) > most {
		l.Body, l.Incomplete = l.Body[:most], true
	}
	if l.Incomplete {
		l.State = Parked
	}
	secrets := r.o.Request.apply(&l)
	a := Attempt{At: l.Created}
	a.fail(cause)
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
