package deadletter

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/innermesh/innermesh/call"
)

// HTTPSender sends HTTP letters with a client, such as the one of a mesh. It is
// safe for concurrent use.
//
// Delivered is what is answered with a status below 400. A status of 400 and
// above that blames the request parks the letter; 408, 409, 425, 429 and all from
// 500 on are a failed sending.
type HTTPSender struct {
	// Client sends. Required.
	Client *http.Client
	// Prepare is called with each request before it is sent: to put in the
	// credentials that the letter does not have. Default: nothing is done.
	Prepare func(req *http.Request) error
	// Judge says what an answer means: nil for delivered, an error that wraps
	// [ErrPoison] for never. It must not close the body. Default: as above.
	Judge func(res *http.Response) error
}

// StatusError is an answer that did not deliver a letter.
type StatusError struct {
	// Status is the HTTP status.
	Status int
	// RetryAfter is how long the receiver asked to be left alone, 0 if it did
	// not say.
	RetryAfter time.Duration
}

// Error names the status.
func (e *StatusError) Error() string {
	return fmt.Sprintf("answered with %d %s", e.Status, http.StatusText(e.Status))
}

// Send implements [Sender].
func (s HTTPSender) Send(ctx context.Context, l Letter) error {
	if s.Client == nil {
		return errors.New("deadletter.HTTPSender: Client is not set")
	}
	if l.Protocol != call.HTTP.String() {
		return unsendable(&l)
	}
	req, err := l.Request(With(ctx, Mark{Off: true})) // a letter about a letter helps nobody
	if err != nil {
		return fmt.Errorf("%w: %w", err, ErrPoison)
	}
	if s.Prepare != nil {
		if err := s.Prepare(req); err != nil {
			return fmt.Errorf("prepare letter %s: %w", l.ID, err)
		}
	}
	res, err := s.Client.Do(req)
	if err != nil {
		if e, ok := errors.AsType[*call.Error](err); ok {
			return e // without the URL that http.Client puts before it
		}
		return err
	}
	defer func() {
		_, _ = io.CopyN(io.Discard, res.Body, 4<<10) // so that the connection can be used again
		_ = res.Body.Close()
	}()
	if s.Judge != nil {
		return s.Judge(res)
	}
	return judge(res)
}

func judge(res *http.Response) error {
	err := &StatusError{Status: res.StatusCode, RetryAfter: retryAfter(res.Header.Get("Retry-After"), time.Now())}
	switch {
	case res.StatusCode < 400:
		return nil
	case passing(res.StatusCode):
		return err
	default:
		return fmt.Errorf("%w: %w", err, ErrPoison)
	}
}

// passing says whether a later sending may well be answered otherwise.
func passing(status int) bool {
	switch status {
	case http.StatusRequestTimeout, http.StatusConflict, http.StatusTooEarly, http.StatusTooManyRequests:
		return true
	default:
		return status >= 500
	}
}

// retryAfter reads RFC 9110's Retry-After: seconds or a date.
func retryAfter(v string, now time.Time) time.Duration {
	if s, err := strconv.ParseUint(v, 10, 31); err == nil {
		return time.Duration(s) * time.Second
	}
	if at, err := http.ParseTime(v); err == nil {
		return max(at.Sub(now), 0)
	}
	return 0
}
