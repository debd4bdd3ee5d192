package admin

import (
	"embed"
	"fmt"
	"html/template"
	"strings"
	"time"
)

//go:embed templates
var sources embed.FS

// templates make the pages. What varies from one second to the next, such as "3 s
// ago", is made here too, so that there is one place where pages come from.
var templates = template.Must(template.New("").Funcs(template.FuncMap{
	"rate": rate, "percent": percent, "latency": latency, "count": count, "limitOf": limitOf,
	"thousands": thousands,
	"ago":       func(at time.Time) string { return ago(time.Since(at)) },
	"toward":    func(at time.Time) string { return toward(time.Now(), at) },
	"clock":     func(at time.Time) string { return at.Format(time.TimeOnly) },
	"stamp":     func(at time.Time) string { return at.UTC().Format(time.RFC3339) },
	"day":       func(at time.Time) string { return at.Format("2 Jan 2006, 15:04 MST") },
	"spark":     spark, "chart": charted, "points": func(s Summary) []Point { return s.points },
	"past":  func(o *Overview) []Point { return o.past },
	"width": func(part float64) int { return int(part*100 + 0.5) },
	"mark":  sign, "trouble": func(t Tone) bool { return t == Warn || t == Bad },
	"list":  func(all ...any) []any { return all },
	"lower": strings.ToLower,
	"span":  func(seconds float64) Span { return Span(seconds) },
}).ParseFS(sources, "templates/*.html"))

// sign is a mark that says without colour how good something is.
func sign(t any) string { // templates have tones as text, too
	switch Tone(fmt.Sprint(t)) {
	case Bad:
		return "✕"
	case Warn:
		return "▲"
	case OK:
		return "●"
	default:
		return "○"
	}
}
