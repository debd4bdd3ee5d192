package telemetry

import (
	"context"
	"log/slog"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/innermesh/innermesh/call"
)

// The messages of the access log.
const (
	accessCalled = "called" // a call that went out
	accessServed = "served" // a call that came in
)

// mostPath is how much of a path is logged.
const mostPath = 256

// Ended is what the access log tells of a call that went out.
type Ended struct {
	// Path is as it was asked for, without the query.
	Path string
	// Status is the HTTP status or the gRPC code of the answer.
	Status int
	Reason call.Reason
	// Answered is how long the answer took, Took how long it was until its end.
	Answered, Took time.Duration
}

// Logs says whether calls are to be told to the access log.
func (u *Upstream) Logs(ctx context.Context) bool {
	return u.t.access != nil && u.t.access.Enabled(ctx, slog.LevelInfo)
}

// Log writes a call that has ended to the access log.
func (w *Way) Log(ctx context.Context, c *call.Call, e Ended) {
	r := slog.NewRecord(time.Now(), slog.LevelInfo, accessCalled, 0)
	r.AddAttrs(slog.String("source", w.u.t.source), slog.String("service", w.u.service))
	text(&r, "destination", w.name.destination)
	text(&r, "subset", w.name.subset)
	text(&r, "route", w.name.route)
	outcome(&r, c.Protocol, c.Method, e.Path, e.Status)
	r.AddAttrs(slog.String("reason", e.Reason.String()), slog.Int("attempts", c.Attempts))
	text(&r, "instance", c.Instance)
	r.AddAttrs(slog.Duration("answered", e.Answered), slog.Duration("took", e.Took))
	w.u.t.log(ctx, r)
}

// log writes a call that has ended to the access log.
func (s *Server) log(ctx context.Context, e *Served) {
	if s.t.access == nil || !s.t.access.Enabled(ctx, slog.LevelInfo) {
		return
	}
	r := slog.NewRecord(time.Now(), slog.LevelInfo, accessServed, 0)
	r.AddAttrs(slog.String("service", s.t.source))
	text(&r, "peer", e.Peer)
	text(&r, "request_id", cut(e.RequestID))
	text(&r, "route", e.Route)
	outcome(&r, e.Protocol, e.Method, e.Path, e.Status)
	text(&r, "refused", e.Refused)
	r.AddAttrs(slog.Duration("took", e.Took))
	s.t.log(ctx, r)
}

// outcome adds what was asked for, and the answer.
func outcome(r *slog.Record, p call.Protocol, method, path string, status int) {
	r.AddAttrs(slog.String("protocol", p.String()))
	if p == call.GRPC {
		r.AddAttrs(slog.String("method", cut(trimSlash(method))), slog.String("status", codeName(status)))
		return
	}
	r.AddAttrs(slog.String("method", knownMethod(method)), slog.String("path", cut(path)))
	if status != 0 {
		r.AddAttrs(slog.Int("status", status))
	}
}

// text adds what is known.
func text(r *slog.Record, key, value string) {
	if value != "" {
		r.AddAttrs(slog.String(key, value))
	}
}

func cut(path string) string { return path[:min(len(path), mostPath)] }

// log adds the trace. What the handler can not write is lost: a call does not
// fail for its log.
func (t *Telemetry) log(ctx context.Context, r slog.Record) {
	if c := trace.SpanContextFromContext(ctx); c.IsValid() {
		r.AddAttrs(slog.String("trace_id", c.TraceID().String()), slog.String("span_id", c.SpanID().String()))
	}
	_ = t.access.Handle(ctx, r)
}
