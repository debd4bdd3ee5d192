package mesh

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strings"

	"github.com/innermesh/innermesh/call"
	"github.com/innermesh/innermesh/internal/admin"
	"github.com/innermesh/innermesh/internal/upstream"
)

// adminEvents tells what has happened, in no order.
func (m *Mesh) adminEvents() []admin.Event {
	var all []admin.Event
	for _, e := range m.journal.kept.All() {
		a := admin.Event{At: e.at, Kind: "change", Tone: admin.Idle, Service: e.service, Text: e.text, Detail: e.detail}
		switch {
		case e.level >= slog.LevelError:
			a.Kind, a.Tone = "error", admin.Bad
		case e.level >= slog.LevelWarn:
			a.Kind, a.Tone = "warning", admin.Warn
		}
		all = append(all, a)
	}
	if g := m.pathIn.gate; g != nil {
		all = append(all, g.denied.events()...)
	}
	for _, u := range m.directory.All() {
		some, _ := troubles(u)
		for i := range some {
			some[i].Service = u.Service
		}
		all = append(all, some...)
	}
	return all
}

// troubles tells what went wrong with calls to an upstream lately, oldest first, and
// how much more did.
func troubles(u *upstream.Upstream) (all []admin.Event, more uint64) {
	recent, more := u.Recent()
	for _, t := range recent {
		e := admin.Event{At: t.At, Kind: "failed", Tone: admin.Bad, Text: fmt.Sprintf("%.80s: %s", t.Method, reasonWords(t.Reason))}
		if t.Again {
			e.Kind, e.Tone = "retried", admin.Warn
		}
		if t.Instance != "" {
			e.Text += fmt.Sprintf(", %s, attempt %d", t.Instance, t.Attempt)
		}
		if t.Err != nil {
			e.Detail = clip(t.Err.Error())
		}
		all = append(all, e)
	}
	return all, more
}

// reasonWords is a reason as people say it.
func reasonWords(r call.Reason) string { return strings.ReplaceAll(r.String(), "_", " ") }

func clip(s string) string {
	if len(s) > journalText {
		return strings.ToValidUTF8(s[:journalText], "") + "…"
	}
	return s
}

// adminExplain says what would become of a request.
func (m *Mesh) adminExplain(ctx context.Context, q admin.Question) (admin.Explanation, error) {
	req, err := http.NewRequestWithContext(ctx, q.Method, q.URL, nil)
	if err != nil {
		return admin.Explanation{}, err
	}
	for line := range strings.Lines(q.Header) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			req.Header.Add(strings.TrimSpace(name), strings.TrimSpace(value))
		}
	}
	e, err := m.Explain(ctx, req)
	if err != nil {
		return admin.Explanation{}, err
	}
	a := admin.Explanation{
		Service: e.Service, Method: e.Method, Path: e.Path, Route: e.Route, Terms: adminTerms(e.Terms), Legs: []admin.WayLeg{},
	}
	for _, l := range e.Legs {
		leg := admin.WayLeg{Share: l.Share}
		for _, t := range l.Targets {
			way := admin.WayTarget{Name: t.Target, Share: t.Share, Terms: adminTerms(t.Terms), Candidates: []admin.Candidate{}}
			if t.Error != nil {
				way.Error = t.Error.Error()
			}
			for _, i := range t.Instances {
				way.Candidates = append(way.Candidates, admin.Candidate{ID: i.Instance.ID, Address: i.Instance.Address, Out: i.Out})
			}
			leg.Targets = append(leg.Targets, way)
		}
		a.Legs = append(a.Legs, leg)
	}
	for _, r := range e.Refused {
		a.Refused = append(a.Refused, adminRefusal(r))
	}
	return a, nil
}
