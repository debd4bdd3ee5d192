package httpadapter

import (
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/innermesh/innermesh/call"
	"github.com/innermesh/innermesh/internal/outbound"
)

// headerInjected is [call.InjectedHeader] as net/http spells it.
const headerInjected = "Innermesh-Injected"

// Pretend implements [outbound.Pretender].
func (x *exchange) Pretend(a *outbound.Attempt, code, grpc int) (*http.Response, call.Outcome) {
	if code == 0 {
		code = statusOf(grpc)
	}
	text := a.Injected().Name + ": " + call.ErrInjected.Error() + "\n"
	res := &http.Response{
		Status: strconv.Itoa(code) + " " + http.StatusText(code), StatusCode: code,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{"Content-Type": {"text/plain; charset=utf-8"}},
		Body:   io.NopCloser(strings.NewReader(text)), ContentLength: int64(len(text)), Request: x.req,
	}
	return res, judge(res)
}

// statusOf is the HTTP status for a gRPC code, as gateways between the two have it.
func statusOf(code int) int {
	statuses := [...]int{200, 499, 500, 400, 504, 404, 409, 403, 429, 400, 409, 400, 501, 500, 503, 500, 401}
	return statuses[min(max(code, 0), len(statuses)-1)]
}

// mark tells of trouble that was made for the answer, and makes what of it
// concerns the body.
func (x *exchange) mark(res *http.Response) {
	t := x.Attempt().Injected()
	if t == nil {
		return
	}
	if res.Header == nil {
		res.Header = http.Header{}
	}
	res.Header[headerInjected] = []string{t.Name}
	if t.BytesPerSecond > 0 && res.Body != nil && res.Body != http.NoBody && res.StatusCode != http.StatusSwitchingProtocols {
		res.Body = &slow{ReadCloser: res.Body, rate: t.BytesPerSecond, a: x.Attempt()}
	}
}

// slow is a body that comes no faster than its rate, until the drill is over.
type slow struct {
	io.ReadCloser
	rate int
	a    *outbound.Attempt
}

// Read implements [io.Reader]: each read is paid for with its time.
func (s *slow) Read(p []byte) (int, error) {
	left := s.a.Injected().Left()
	if left <= 0 {
		return s.ReadCloser.Read(p)
	}
	const pieces = 10 // a second
	p = p[:min(len(p), max(s.rate/pieces, 1))]
	n, err := s.ReadCloser.Read(p)
	if n == 0 {
		return n, err
	}
	timer := time.NewTimer(min(time.Duration(float64(n)/float64(s.rate)*float64(time.Second)), left))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-s.a.Done():
	}
	return n, err
}
