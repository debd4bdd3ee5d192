package mesh

import (
	"context"
	"log/slog"
	"strings"
	"time"

	"github.com/innermesh/innermesh/internal/window"
)

// journal keeps the latest of what is logged, which are changes of state, and passes
// it on. It is bounded and costs nothing where nothing changes.
type journal struct {
	next slog.Handler
	kept *window.Latest[journalEntry] // shared by all loggers that come of one
	// What was added to the logger, as text.
	attrs  string
	prefix string
}

type journalEntry struct {
	at      time.Time
	level   slog.Level
	text    string
	service string
	detail  string
}

// journalMost is how many entries are kept, journalText how long one may be.
const (
	journalMost = 256
	journalText = 600
)

func newJournal(next slog.Handler) *journal {
	return &journal{next: next, kept: new(window.Latest[journalEntry])}
}

// Enabled implements [slog.Handler]: changes are kept even if nobody logs them.
func (j *journal) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= slog.LevelInfo || j.next.Enabled(ctx, l)
}

// Handle implements [slog.Handler].
func (j *journal) Handle(ctx context.Context, r slog.Record) error {
	if r.Level >= slog.LevelInfo {
		j.keep(r)
	}
	if !j.next.Enabled(ctx, r.Level) {
		return nil
	}
	return j.next.Handle(ctx, r)
}

// WithAttrs implements [slog.Handler].
func (j *journal) WithAttrs(attrs []slog.Attr) slog.Handler {
	c := *j
	c.next = j.next.WithAttrs(attrs)
	var b strings.Builder
	for _, a := range attrs {
		write(&b, j.prefix, a)
	}
	c.attrs += b.String()
	return &c
}

// WithGroup implements [slog.Handler].
func (j *journal) WithGroup(name string) slog.Handler {
	c := *j
	c.next = j.next.WithGroup(name)
	c.prefix += name + "."
	return &c
}

func (j *journal) keep(r slog.Record) {
	var b strings.Builder
	b.WriteString(j.attrs)
	r.Attrs(func(a slog.Attr) bool {
		write(&b, j.prefix, a)
		return b.Len() < journalText
	})
	e := journalEntry{at: r.Time, level: r.Level, text: r.Message}
	var rest []string
	for field := range strings.SplitSeq(strings.TrimSuffix(b.String(), fieldEnd), fieldEnd) {
		switch name, value, _ := strings.Cut(field, fieldIs); name {
		case "mesh", "":
		case "service":
			e.service = value
		default:
			rest = append(rest, name+": "+value)
		}
	}
	e.detail = strings.Join(rest, " · ")
	if len(e.detail) > journalText {
		e.detail = strings.ToValidUTF8(e.detail[:journalText], "") + "…"
	}
	j.kept.Keep(e, journalMost)
}

// Fields are told apart by what no value has.
const (
	fieldIs  = "\x1f"
	fieldEnd = "\x1e"
)

// write puts a field down as text, groups and values as the logger would show them.
func write(b *strings.Builder, prefix string, a slog.Attr) {
	v := a.Value.Resolve()
	if v.Kind() == slog.KindGroup {
		for _, inner := range v.Group() {
			write(b, prefix+a.Key+".", inner)
		}
		return
	}
	text := v.String()
	if v.Kind() == slog.KindTime {
		text = v.Time().Format(time.TimeOnly)
	}
	b.WriteString(prefix + a.Key + fieldIs + strings.NewReplacer(fieldIs, " ", fieldEnd, " ").Replace(text) + fieldEnd)
}
