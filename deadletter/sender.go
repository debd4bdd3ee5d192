package deadletter

import (
	"context"
	"errors"
	"fmt"

	"github.com/innermesh/innermesh/call"
)

// ErrPoison is wrapped by a [Sender]'s error to say that the letter itself is
// wrong: sending it again makes no sense, so it is parked at once.
var ErrPoison = errors.New("the receiver will never accept it")

// Sender sends a letter, normally down the outbound path of a mesh with its
// breakers and budgets. nil means delivered: the letter is deleted then. It must
// send the letter's key, and return when ctx ends. An error that is a
// [*call.Error] of reason Rejected says that nobody was asked: the letter is put
// back as it was, and the service is left alone for a while. One that wraps
// [ErrPoison] parks it. All others count as a failed sending.
type Sender interface {
	Send(ctx context.Context, l Letter) error
}

// SenderFunc is a function as a [Sender].
type SenderFunc func(ctx context.Context, l Letter) error

// Send calls the function.
func (f SenderFunc) Send(ctx context.Context, l Letter) error { return f(ctx, l) }

// Senders sends a letter with the sender for its protocol.
type Senders map[string]Sender

// Send implements [Sender]. A letter of a protocol that is not there is left
// where it is, as when a service has no instance.
func (s Senders) Send(ctx context.Context, l Letter) error {
	sender, ok := s[l.Protocol]
	if !ok {
		return unsendable(&l)
	}
	return sender.Send(ctx, l)
}

// unsendable leaves a letter to a program that knows better.
func unsendable(l *Letter) error {
	return &call.Error{
		Service: l.Service, Method: l.Method, Reason: call.Rejected,
		Err: fmt.Errorf("no sender for the protocol %q: add one", l.Protocol),
	}
}

// refused says whether a sending's error means that nobody was asked.
func refused(err error) bool {
	e, ok := errors.AsType[*call.Error](err)
	return ok && e.Reason == call.Rejected && e.Sent == call.NotSent
}

// fail writes down how a sending failed.
func (a *Attempt) fail(err error) {
	a.Error = err.Error()
	if e, ok := errors.AsType[*call.Error](err); ok {
		a.Reason, a.Instance, a.Sent, a.Tries = e.Reason.String(), e.Instance, e.Sent.String(), e.Attempts
		for _, t := range e.Tries {
			a.Each = append(a.Each, Try{
				At: t.Began.UTC().Round(0), Took: t.Took, Instance: t.Instance, Sent: t.Sent.String(), Reason: t.Reason.String(),
			})
		}
	}
}
