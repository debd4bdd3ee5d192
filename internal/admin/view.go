package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"time"
)

// view is one page, and the same as JSON.
type view struct {
	path, api, title, template string
	// still says that it is not refreshed.
	still bool
	// hidden pages are not in the navigation.
	hidden bool
	// build collects what it shows.
	build func(ctx context.Context, p *Page, q url.Values) (any, error)
}

// views are all pages, in the order of the navigation.
var views = []*view{
	{path: "", api: "overview", title: "Overview", template: "overview", build: buildOverview},
	{path: "upstream", api: "upstream", title: "Upstream", template: "upstream", hidden: true, build: buildUpstream},
	{path: "topology", api: "topology", title: "Topology", template: "topology", build: buildTopology},
	{path: "events", api: "events", title: "Events", template: "events", build: buildEvents},
	{path: "configuration", api: "configuration", title: "Configuration", template: "configuration", build: buildConfig},
	{path: "security", api: "security", title: "Security", template: "security", build: buildSecurity},
	{path: "work", api: "work", title: "Work", template: "work", build: buildWork},
	{path: "explain", api: "explain", title: "Explain", template: "explain", still: true, build: buildExplain},
}

// frame is what the templates of a whole page are given.
type frame struct {
	Title   string
	Process Process
	Nav     []link
	Live    string // where the page's news come from, empty if there are none
	Body    any
	Main    string
	Now     time.Time
}

type link struct {
	Href, Title string
	Here        bool
}

// show answers with a page.
func (p *Page) show(w http.ResponseWriter, r *http.Request, v *view) {
	body, err := v.build(r.Context(), p, r.URL.Query())
	if err != nil {
		p.fail(w, r, err)
		return
	}
	f := frame{Title: v.title, Process: p.o.Process(), Body: body, Now: time.Now(), Main: v.template, Nav: navigation(v)}
	if t, ok := body.(interface{ title() string }); ok {
		f.Title = t.title()
	}
	if !v.still {
		q := r.URL.Query()
		q.Set("view", v.api)
		f.Live = "live?" + q.Encode()
	}
	var page bytes.Buffer
	if err := templates.ExecuteTemplate(&page, "page", f); err != nil {
		p.fail(w, r, err)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = w.Write(page.Bytes()) // whoever has gone needs it no more
}

// navigation are the links to all pages, for one of them.
func navigation(here *view) (all []link) {
	for _, o := range views {
		if o.hidden {
			continue
		}
		href := o.path
		if href == "" {
			href = "./"
		}
		all = append(all, link{href, o.title, o == here})
	}
	return all
}

// render makes the part of a page that changes.
func (p *Page) render(ctx context.Context, v *view, q url.Values) ([]byte, error) {
	body, err := v.build(ctx, p, q)
	if err != nil {
		return nil, err
	}
	var page bytes.Buffer
	err = templates.ExecuteTemplate(&page, v.template, frame{Title: v.title, Process: p.o.Process(), Body: body, Now: time.Now()})
	return page.Bytes(), err
}

// api answers with what a page shows, as JSON.
func (p *Page) api(w http.ResponseWriter, r *http.Request, v *view) {
	body, err := v.build(r.Context(), p, r.URL.Query())
	if err != nil {
		status := http.StatusUnprocessableEntity
		if errors.Is(err, errUnknown) {
			status = http.StatusNotFound
		}
		writeJSON(w, status, map[string]string{"error": err.Error()})
		return
	}
	writeJSON(w, http.StatusOK, body)
}

// apiIndex lists what can be asked.
func (p *Page) apiIndex(w http.ResponseWriter, _ *http.Request) {
	all := map[string]string{}
	for _, v := range views {
		all[v.api] = "api/" + v.api
	}
	writeJSON(w, http.StatusOK, map[string]any{"process": p.o.Process(), "documents": all})
}

func writeJSON(w http.ResponseWriter, status int, body any) {
	data, err := json.MarshalIndent(body, "", "  ")
	if err != nil {
		status, data = http.StatusInternalServerError, []byte(`{"error": "this can not be told as JSON"}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(data, '\n')) // whoever has gone needs it no more
}

// missing says why there is no page.
type missing struct {
	Service string
	Broken  bool
}

// fail answers with a page that says why there is none.
func (p *Page) fail(w http.ResponseWriter, r *http.Request, err error) {
	status := http.StatusNotFound
	if !errors.Is(err, errUnknown) {
		status = http.StatusInternalServerError
		p.o.Logger.Error("the live page could not be made", "path", r.URL.Path, "error", err)
	}
	f := frame{Title: "Not here", Process: p.o.Process(), Now: time.Now(), Main: "missing", Nav: navigation(nil)}
	f.Body = missing{Service: r.URL.Query().Get("service"), Broken: status == http.StatusInternalServerError}
	var page bytes.Buffer
	if err := templates.ExecuteTemplate(&page, "page", f); err != nil {
		http.Error(w, "the page could not be made", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(page.Bytes()) // whoever has gone needs it no more
}
