package httpadapter

import (
	"io"

	"github.com/innermesh/innermesh/call"
	"github.com/innermesh/innermesh/internal/outbound"
)

// answerBody passes a response's body on as it comes and ends the call with it.
type answerBody struct {
	from   io.ReadCloser
	flight *outbound.Flight
}

func (b *answerBody) init(from io.ReadCloser, f *outbound.Flight) { b.from, b.flight = from, f }

// Read implements [io.Reader].
func (b *answerBody) Read(p []byte) (int, error) {
	b.flight.Wait()
	n, err := b.from.Read(p)
	b.flight.Move()
	switch {
	case err == io.EOF: //nolint:errorlint // readers return it bare
		b.flight.End(call.Outcome{})
	case err != nil:
		err = b.broke(err)
	}
	return n, err
}

// broke ends the call with its body's error, in our words if it was our doing.
func (b *answerBody) broke(err error) error {
	out := call.Outcome{Reason: call.Reset, Sent: call.Answered, Err: err}
	if b.flight.Stalled() {
		return b.flight.Broke(out)
	}
	b.flight.End(out)
	return err
}

// Close implements [io.Closer].
func (b *answerBody) Close() error {
	err := b.from.Close()
	b.flight.End(call.Outcome{})
	return err
}

// upgraded is the body of a 101: it can be written to.
type upgraded struct {
	*answerBody
	w io.Writer
}

// Write implements [io.Writer].
func (u *upgraded) Write(p []byte) (int, error) {
	u.flight.Wait()
	defer u.flight.Move()
	return u.w.Write(p)
}

// failedBody is the body of an answer that is the instance's fault.
type failedBody struct {
	io.ReadCloser

	x      *exchange
	status int
}

// Failure tells the failure of the call as its error would, for whoever keeps
// dead letters.
func (b *failedBody) Failure() *call.Error {
	return b.x.Failure(call.Outcome{Reason: call.ClassifyHTTP(b.status), Sent: call.Answered, Status: b.status})
}
