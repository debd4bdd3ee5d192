package idempotency

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"time"
)

// problem is how a refusal is told (RFC 9457).
type problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail,omitzero"`
}

// problems are the refusals. The first that fits counts.
var problems = []struct {
	err    error
	status int
	kind   string
	later  bool // the same request may succeed a little later
	silent bool // the cause is not the caller's to know
}{
	{err: ErrNoKey, status: http.StatusBadRequest, kind: "key-required"},
	{err: ErrKey, status: http.StatusBadRequest, kind: "key-invalid"},
	{err: ErrRunning, status: http.StatusConflict, kind: "running", later: true},
	{err: ErrMismatch, status: http.StatusUnprocessableEntity, kind: "mismatch"},
	{err: ErrNotKept, status: http.StatusUnprocessableEntity, kind: "not-kept"},
	{err: ErrLapsed, status: http.StatusConflict, kind: "outcome-unknown"},
	{err: ErrStore, status: http.StatusServiceUnavailable, kind: "store-unavailable", later: true, silent: true},
}

// refuse answers a request that is not let in.
func (g *Guard) refuse(w http.ResponseWriter, err error) {
	p := problem{
		Type: "urn:innermesh:idempotency:request-broken", Title: "the request's body could not be read",
		Status: http.StatusBadRequest,
	}
	if tooLarge, ok := errors.AsType[*http.MaxBytesError](err); ok {
		p.Status = http.StatusRequestEntityTooLarge
		p.Detail = fmt.Sprintf("at most %d bytes are taken", tooLarge.Limit)
	}
	for _, known := range problems {
		if !errors.Is(err, known.err) {
			continue
		}
		p = problem{Type: "urn:innermesh:idempotency:" + known.kind, Title: known.err.Error(), Status: known.status}
		if detail := err.Error(); !known.silent && detail != p.Title {
			p.Detail = detail
		}
		if known.later {
			w.Header().Set("Retry-After", seconds(g.o.RetryAfter))
		}
		break
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p) //nolint:errchkjson // the client may have left
}

// seconds rounds up, as 0 would mean at once.
func seconds(d time.Duration) string {
	return strconv.Itoa(max(1, int(math.Ceil(d.Seconds()))))
}
