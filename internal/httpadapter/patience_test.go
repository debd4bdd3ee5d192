package httpadapter

import (
	"net/http"
	"strconv"
	"testing"
	"time"
)

func TestPatience(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	at := func(d time.Duration) string { return strconv.FormatInt(now.Add(d).Unix(), 10) }
	for name, test := range map[string]struct {
		h       http.Header
		limited bool
		want    time.Duration
	}{
		"nothing":            {http.Header{}, true, 0},
		"Retry-After":        {http.Header{"Retry-After": {"2"}, "Ratelimit-Reset": {"9"}}, true, 2 * time.Second},
		"milliseconds":       {http.Header{"Retry-After": {"2"}, "Retry-After-Ms": {"150"}}, false, 150 * time.Millisecond},
		"odd milliseconds":   {http.Header{"Retry-After": {"2"}, "Retry-After-Ms": {"-1"}}, false, 2 * time.Second},
		"seconds":            {http.Header{"Ratelimit-Reset": {"9"}}, true, 9 * time.Second},
		"seconds, older":     {http.Header{"X-Ratelimit-Reset": {"9"}}, true, 9 * time.Second},
		"since 1970":         {http.Header{"X-Ratelimit-Reset": {at(7 * time.Second)}}, true, 7 * time.Second},
		"gone by":            {http.Header{"X-Ratelimit-Reset": {at(-7 * time.Second)}}, true, 0},
		"not a limit":        {http.Header{"X-Ratelimit-Reset": {"9"}}, false, 0},
		"negative":           {http.Header{"Ratelimit-Reset": {"-9"}}, true, 0},
		"endless":            {http.Header{"Ratelimit-Reset": {"99999999999999"}}, true, 0},
		"a word, and behind": {http.Header{"Ratelimit-Reset": {"soon"}, "X-Ratelimit-Reset": {"3"}}, true, 3 * time.Second},
	} {
		if got := patience(test.h, test.limited, now); got != test.want {
			t.Errorf("%s: %v, want %v", name, got, test.want)
		}
	}
}
