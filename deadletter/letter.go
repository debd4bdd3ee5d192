package deadletter

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// State is where a letter stands.
type State string

// The states. What was delivered or discarded is in no state: it is gone.
const (
	// Queued: an outbox has yet to deliver it.
	Queued State = "queued"
	// Waiting: it has failed for good, and waits to be sent again.
	Waiting State = "waiting"
	// Parked: sending it again makes no sense until somebody has looked at it.
	Parked State = "parked"
)

// Letter is one call in an envelope: everything that is needed to make it again,
// and what became of it so far. Secrets are not in it, see [Secrets]. Printed or
// logged, in any way, it shows neither headers nor body.
type Letter struct { //nolint:recvcheck // a letter printed by value must keep its secrets too
	// ID names the letter. Letters made later have greater IDs, to the millisecond.
	ID string `json:"id"`
	// State is where the letter stands. Default: Waiting; an outbox sets Queued.
	State State `json:"state"`

	// Protocol is how the call travels: "http", "grpc", or a word that a
	// [Sender] of yours knows.
	Protocol string `json:"protocol"`
	// Service is the logical name of the callee.
	Service string `json:"service"`
	// Method is the HTTP method or the full gRPC method.
	Method string `json:"method"`
	// URL is the target of an HTTP call.
	URL string `json:"url,omitzero"`
	// Header holds HTTP headers or gRPC metadata, less secrets.
	Header http.Header `json:"header,omitzero"`
	// Removed names the headers and query parameters left out as secrets.
	Removed []string `json:"removed,omitzero"`
	// Body is what is sent.
	Body []byte `json:"body,omitzero"`
	// Incomplete says that the body was longer than what is kept, so that Body is
	// only its beginning: such a letter is for reading, and is never sent.
	Incomplete bool `json:"incomplete,omitzero"`
	// Key is the idempotency key, word for word as it is sent, the same each time.
	Key string `json:"key"`
	// Trace holds the trace that the first call belonged to, as its propagation
	// headers.
	Trace map[string]string `json:"trace,omitzero"`
	// Labels are yours, to find letters by.
	Labels map[string]string `json:"labels,omitzero"`

	// Created is when the letter was made.
	Created time.Time `json:"created"`
	// Expires is when it is of no use any more. Zero: never.
	Expires time.Time `json:"expires,omitzero"`

	// Attempts tells the sendings, oldest first. Of many, the first and the
	// latest are kept.
	Attempts []Attempt `json:"attempts,omitzero"`
	// Deliveries counts the sendings that failed, all of them.
	Deliveries int `json:"deliveries,omitzero"`
	// Redrives counts those of them that came after the letter was dead.
	Redrives int `json:"redrives,omitzero"`
	// Reason classifies the last failure, in the words of [call.Reason]; empty
	// if it was none of a call.
	Reason string `json:"reason,omitzero"`
	// Error is the last failure for human eyes.
	Error string `json:"error,omitzero"`

	// NotBefore is the earliest time of the next sending.
	NotBefore time.Time `json:"notBefore,omitzero"`
	// Owner is who has claimed the letter, until LeasedUntil.
	Owner       string    `json:"owner,omitzero"`
	LeasedUntil time.Time `json:"leasedUntil,omitzero"`
	// Revision is the engine's: it changes with every change of the letter and
	// tells an outdated copy from the present one.
	Revision uint64 `json:"revision,omitzero"`
}

// Attempt is one sending that failed.
type Attempt struct {
	At   time.Time     `json:"at"`
	Took time.Duration `json:"took,omitzero"`
	// Tries is how many instances were tried within this sending, Instance the
	// ID of the last one, Sent how far that got.
	Tries    int    `json:"tries,omitzero"`
	Instance string `json:"instance,omitzero"`
	Sent     string `json:"sent,omitzero"`
	// Reason is the word of [call.Reason], Error its text.
	Reason string `json:"reason,omitzero"`
	Error  string `json:"error,omitzero"`
	// Each tells of the instances that were tried, as far as the library knows:
	// of many, the first and the latest.
	Each []Try `json:"each,omitzero"`
}

// Try is one instance that was tried within a sending, as [call.Try].
type Try struct {
	At       time.Time     `json:"at"`
	Took     time.Duration `json:"took,omitzero"`
	Instance string        `json:"instance,omitzero"`
	Sent     string        `json:"sent,omitzero"`
	Reason   string        `json:"reason,omitzero"`
}

// How much of a letter's history is kept.
const (
	maxAttempts = 20
	maxText     = 1 << 10
)

// Bounds of what [Letter.Validate] lets pass.
const (
	maxID    = 64
	maxKey   = 2 + 2*255 // in quotes, each character escaped
	maxNames = 16 << 10
)

// Fill gives the letter what every one has, where it is missing: an ID, a state,
// an idempotency key and the time it was made.
func (l *Letter) Fill(now time.Time) {
	now = now.UTC().Round(0)
	l.ID = cmp.Or(l.ID, NewID(now))
	l.State = cmp.Or(l.State, Waiting)
	l.Key = cmp.Or(l.Key, mintKey())
	if l.Created.IsZero() {
		l.Created = now
	}
}

// Validate names everything that is wrong with the letter.
func (l *Letter) Validate() error {
	var faults []error
	fault := func(bad bool, field, format string, args ...any) {
		if bad {
			faults = append(faults, fmt.Errorf("%s "+format, append([]any{field}, args...)...))
		}
	}
	fault(!validID(l.ID), "ID", "is %.80q: want 1 to %d lower-case letters, digits and dashes", l.ID, maxID)
	fault(l.State != Queued && l.State != Waiting && l.State != Parked, "State", "is %.80q: want queued, waiting or parked", l.State)
	fault(!token(l.Protocol), "Protocol", "is %.80q: want a word such as http or grpc", l.Protocol)
	fault(!printable(l.Service) || len(l.Service) > maxNames, "Service", "is %.80q: want a printable name", l.Service)
	fault(!printable(l.Method) || len(l.Method) > maxNames, "Method", "is %.80q: want a printable name", l.Method)
	fault(!fitKey(l.Key), "Key", "has %d bytes: want 1 to %d, printable ASCII", len(l.Key), maxKey)
	fault(l.Created.IsZero(), "Created", "is not set")
	fault(l.Deliveries < 0 || l.Redrives < 0, "Deliveries, Redrives", "are %d, %d: must not be negative", l.Deliveries, l.Redrives)
	if l.Protocol == "http" {
		u, err := url.Parse(l.URL)
		fault(err != nil || u.Host == "", "URL", "can not be sent to: want one with a host") // its text may hold a secret
		fault(!token(l.Method), "Method", "is %.80q: want an HTTP method", l.Method)
	}
	for _, name := range slices.Sorted(maps.Keys(l.Header)) {
		binary := strings.HasSuffix(strings.ToLower(name), "-bin") // gRPC's metadata may be any bytes
		fault(!token(name) || !binary && slices.ContainsFunc(l.Header[name], unfitForHeader), "Header["+name+"]", "can not be sent as a header")
	}
	for field, words := range map[string]map[string]string{"Labels": l.Labels, "Trace": l.Trace} {
		for k, v := range words {
			fault(!utf8.ValidString(k) || !utf8.ValidString(v), field, "are not all UTF-8: %.80q", k)
		}
	}
	return errors.Join(faults...)
}

// Size is about how many bytes the letter takes.
func (l *Letter) Size() int64 {
	n := 512 + len(l.URL) + len(l.Body) + len(l.Error)
	for _, a := range l.Attempts {
		n += 200 + 150*len(a.Each)
	}
	for name, values := range l.Header {
		n += len(name)
		for _, v := range values {
			n += len(v)
		}
	}
	return int64(n)
}

// Expired says whether the letter is of no use any more at the time given.
func (l *Letter) Expired(now time.Time) bool { return !l.Expires.IsZero() && !now.Before(l.Expires) }

// Leased says whether somebody has claimed the letter.
func (l *Letter) Leased(now time.Time) bool { return now.Before(l.LeasedUntil) }

// String names the letter without what it carries.
func (l Letter) String() string {
	return fmt.Sprintf("letter %s (%s %s %s, %s, %d failed)", l.ID, l.Protocol, l.Service, l.Method, l.State, l.Deliveries)
}

// Format implements [fmt.Formatter]: whatever the verb, neither headers nor
// body are shown.
func (l Letter) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, l.String()) }

// LogValue implements [slog.LogValuer].
func (l Letter) LogValue() slog.Value {
	return slog.GroupValue(
		slog.String("id", l.ID), slog.String("state", string(l.State)), slog.String("protocol", l.Protocol),
		slog.String("service", l.Service), slog.String("method", l.Method),
		slog.Int("deliveries", l.Deliveries), slog.String("reason", l.Reason),
	)
}

// record adds a failed sending to the history.
func (l *Letter) record(a Attempt) {
	a.Error = clip(a.Error)
	l.Deliveries++
	l.Reason, l.Error = a.Reason, a.Error
	l.Attempts = append(slices.Clip(l.Attempts), a)
	if n := len(l.Attempts); n > maxAttempts {
		l.Attempts = slices.Delete(slices.Clone(l.Attempts), 1, 1+n-maxAttempts)
	}
}

// due is when the letter may be claimed.
func (l *Letter) due() time.Time {
	if l.LeasedUntil.After(l.NotBefore) {
		return l.LeasedUntil
	}
	return l.NotBefore
}

// slip is the letter without its weight, as an index holds it.
func (l *Letter) slip() *Letter {
	s := *l
	s.Header, s.Body, s.Attempts, s.Trace, s.Removed, s.Error = nil, nil, nil, nil, nil, ""
	return &s
}

func clip(s string) string {
	if len(s) > maxText {
		return strings.ToValidUTF8(s[:maxText], "") + "…"
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}

func fitKey(key string) bool { return len(key) <= maxKey && printable(key) }

func validID(s string) bool {
	return s != "" && len(s) <= maxID && !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-'
	})
}

// token is RFC 9110's, which methods and header names are made of.
func token(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return r <= ' ' || r >= 0x7f || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, r)
	})
}

func printable(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r >= 0x7f })
}

func unfitForHeader(v string) bool {
	return slices.ContainsFunc([]byte(v), func(c byte) bool { return c < ' ' && c != '\t' || c == 0x7f })
}
