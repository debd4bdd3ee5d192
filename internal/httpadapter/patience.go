package httpadapter

import (
	"net/http"
	"strconv"
	"time"
)

// resets are the headers by which rate limiters tell when to come back: as the
// IETF's draft has it, and those before it.
var resets = [...]string{"Ratelimit-Reset", "X-Ratelimit-Reset"}

// patience is how long an answer asks to be left alone, 0 if it does not say.
// Retry-After comes first, for it is meant for clients that retry; before it what
// says the same in milliseconds.
func patience(h http.Header, limited bool, now time.Time) time.Duration {
	if v := h[headerRetryMillis]; len(v) == 1 {
		if ms, err := strconv.ParseUint(v[0], 10, 31); err == nil {
			return time.Duration(ms) * time.Millisecond
		}
	}
	if wait := retryAfter(h.Get("Retry-After"), now); wait > 0 {
		return wait
	}
	if limited {
		for _, name := range resets {
			if wait := reset(h.Get(name), now); wait > 0 {
				return wait
			}
		}
	}
	return 0
}

// retryAfter reads RFC 9110's Retry-After: seconds or a date. What can not be
// read says nothing.
func retryAfter(v string, now time.Time) time.Duration {
	if v == "" {
		return 0
	}
	if s, err := strconv.ParseUint(v, 10, 31); err == nil {
		return time.Duration(s) * time.Second
	}
	if at, err := http.ParseTime(v); err == nil {
		return max(at.Sub(now), 0)
	}
	return 0
}

// reset reads when a rate limit starts anew: seconds from now or, if that would
// be years, since 1970.
func reset(v string, now time.Time) time.Duration {
	const years = 100_000_000
	s, err := strconv.ParseInt(v, 10, 64)
	switch {
	case err != nil || s < 0 || s > 1<<33:
		return 0
	case s >= years:
		return max(time.Unix(s, 0).Sub(now), 0)
	default:
		return time.Duration(s) * time.Second
	}
}
