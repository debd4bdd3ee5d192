package admin

import (
	"net/http"
	"net/url"
	"slices"
)

// forgive puts an instance back into rotation.
func (p *Page) forgive(w http.ResponseWriter, r *http.Request) {
	if p.o.Forgive == nil {
		refuse(w)
		return
	}
	service, instance := p.form(w, r, "service"), r.PostFormValue("instance")
	if err := p.o.Forgive(service, instance); err != nil {
		http.Error(w, err.Error(), http.StatusNotFound)
		return
	}
	back(w, "upstream?service="+url.QueryEscape(service))
}

// duty has something done by hand.
func (p *Page) duty(w http.ResponseWriter, r *http.Request) {
	id := p.form(w, r, "id")
	duties := p.duties()
	at := slices.IndexFunc(duties, func(d Duty) bool { return d.ID == id })
	if at < 0 {
		refuse(w)
		return
	}
	if err := duties[at].Do(r.Context()); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	back(w, "./")
}

func (p *Page) duties() []Duty {
	if p.o.Duties == nil {
		return nil
	}
	return p.o.Duties()
}

// form reads a field of a form that is not large.
func (p *Page) form(w http.ResponseWriter, r *http.Request, field string) string {
	r.Body = http.MaxBytesReader(w, r.Body, 16<<10)
	return r.PostFormValue(field)
}

func refuse(w http.ResponseWriter) {
	http.Error(w, "this page is for looking: Options.Admin.Actions allows more", http.StatusForbidden)
}

// back shows the page again, by an address relative to this one.
func back(w http.ResponseWriter, to string) {
	w.Header().Set("Location", to)
	w.WriteHeader(http.StatusSeeOther)
}
