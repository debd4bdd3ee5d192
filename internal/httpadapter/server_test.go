package httpadapter

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/innermesh/innermesh/call"
	"github.com/innermesh/innermesh/inbound"
)

// What a caller has told is kept; what can not be read is as if it was not said.
func TestServeKeepsWhatWasTold(t *testing.T) {
	tests := map[string]struct {
		attempt, left []string
		wantAttempt   int
		wantLeft      time.Duration
	}{
		"nothing":       {nil, nil, 0, 0},
		"both":          {[]string{"2"}, []string{"1500"}, 2, 1500 * time.Millisecond},
		"an attempt":    {[]string{"3"}, nil, 3, 0},
		"a time":        {nil, []string{"2"}, 0, 2 * time.Millisecond},
		"zero":          {[]string{"0"}, []string{"0"}, 0, 0},
		"negative":      {[]string{"-1"}, []string{"-1"}, 0, 0},
		"not a number":  {[]string{"x"}, []string{"1s"}, 0, 0},
		"said twice":    {[]string{"2", "3"}, []string{"1", "2"}, 0, 0},
		"out of range":  {[]string{"99999999999999999999"}, []string{"99999999999"}, 0, 0},
		"largest there": {[]string{"2147483647"}, []string{"2147483647"}, 2147483647, 2147483647 * time.Millisecond},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
				r.Header[headerAttempt], r.Header[headerLeft] = test.attempt, test.left
				asked := false
				Serve(inbound.New(inbound.Options{}), http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
					asked = true
					at, bounded := r.Context().Deadline()
					left := time.Duration(0)
					if bounded {
						left = time.Until(at)
					}
					if n := call.InboundFrom(r.Context()).Attempt; n != test.wantAttempt || left != test.wantLeft {
						t.Errorf("attempt %d, %v left; want %d, %v", n, left, test.wantAttempt, test.wantLeft)
					}
				})).ServeHTTP(httptest.NewRecorder(), r)
				if !asked {
					t.Error("not served")
				}
			})
		})
	}
}
