package httpadapter

import (
	"maps"
	"net/http"

	"github.com/innermesh/innermesh/call"
	"github.com/innermesh/innermesh/internal/outbound"
)

// Prepare implements [outbound.Hedger]: the request of the attempt is its own, to
// the last header. A body must be one that can be rewound.
func (x *exchange) Prepare(a *outbound.Attempt) (send func() (*http.Response, call.Outcome)) {
	if x.body != nil && x.body.get == nil {
		return nil
	}
	through, r, err := x.request(a)
	if err != nil {
		return func() (*http.Response, call.Outcome) { return nil, call.Outcome{Reason: call.Rejected, Err: err} }
	}
	url := *r.URL
	r.URL, r.Header = &url, maps.Clone(r.Header)
	return func() (*http.Response, call.Outcome) {
		res, err := x.send(through, r, a.Number)
		if err != nil {
			return nil, x.judgeError(err)
		}
		return res, judge(res)
	}
}

// Choose implements [outbound.Hedger]: a response is nobody's before it is
// answered.
func (x *exchange) Choose(*outbound.Attempt) {}
