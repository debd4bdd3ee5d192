package audit

import (
	"log/slog"
	"strings"
	"time"
	"unicode/utf8"
)

// Record is one decision. Empty fields are left out.
type Record struct {
	// Time is when the decision was made.
	Time time.Time
	// Allowed is what the rules say; DryRun, that a refusal was only told.
	Allowed, DryRun bool
	// Caller is who called, as proven: a SPIFFE ID. Via is the peer that vouched
	// for it, if that was not the caller itself.
	Caller, Via string
	// Service is the service that was called.
	Service string
	// Protocol is "http" or "grpc".
	Protocol string
	// Method is that of HTTP; Path that of the request, as rules saw it. A query
	// is cut off.
	Method, Path string
	// Reason says what the decision rests on, Rule which rule that is.
	Reason, Rule string
	// TraceID and RequestID lead to what else was told of the call.
	TraceID, RequestID string
	// Remote is the address of the connection's other end.
	Remote string
}

// Bounds of what is the caller's own text, in bytes.
const (
	maxPath   = 1024
	maxMethod = 64
	maxName   = 512
)

func (r *Record) attrs(dst []slog.Attr) []slog.Attr {
	decision := "deny"
	if r.Allowed {
		decision = "allow"
	}
	dst = append(dst, slog.String("decision", decision))
	if r.DryRun && !r.Allowed {
		dst = append(dst, slog.Bool("dry_run", true))
	}
	path, _, _ := strings.Cut(r.Path, "?")
	path, _, _ = strings.Cut(path, "#")
	for _, f := range [...]struct {
		name, value string
		most        int
	}{
		{"caller", r.Caller, maxName}, {"via", r.Via, maxName}, {"service", r.Service, maxName}, {"protocol", r.Protocol, maxMethod},
		{"method", r.Method, maxMethod}, {"path", path, maxPath}, {"reason", r.Reason, maxName}, {"rule", r.Rule, maxName},
		{"trace_id", r.TraceID, maxMethod}, {"request_id", r.RequestID, maxName}, {"remote", r.Remote, maxName},
	} {
		if f.value != "" {
			dst = append(dst, slog.String(f.name, shown(f.value, f.most)))
		}
	}
	return dst
}

// shown cuts what is too long, and makes text of what is none, between
// characters.
func shown(s string, most int) string {
	if len(s) > most {
		for most > 0 && !utf8.RuneStart(s[most]) {
			most--
		}
		s = s[:most] + "..."
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}
