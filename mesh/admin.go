package mesh

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/innermesh/innermesh/internal/admin"
)

// live is the page of a mesh, once somebody has asked for it.
type live struct {
	once sync.Once
	page *admin.Page
	addr net.Addr // of the own listener

	mu      sync.Mutex
	sagas   []SagaLister
	letters []LetterLister
	own     []*Registered
}

// AdminHandler returns the live page: what this program calls, how that goes and
// why, as HTML and below /api as JSON. Mount it where you like:
//
//	mux.Handle("/mesh/", http.StripPrefix("/mesh", m.AdminHandler()))
//
// It has no password, and shows names, addresses and what has failed, but no
// secrets. Whoever can reach the server can see it: mount it where only operators
// come, or let [AdminOptions].Addr serve it on the loopback. It is read-only unless
// [AdminOptions].Actions is set; what changes something is refused to pages of other
// origins.
//
// Figures of the past begin with the first call of AdminHandler: make it when the
// program starts. All calls return the same handler, which ends its open event
// streams when the mesh is closed. See docs/admin.md.
func (m *Mesh) AdminHandler() http.Handler {
	m.live.once.Do(func() {
		m.live.page = admin.New(m.adminOptions())
		m.onClose(func(context.Context) error { m.live.page.Close(); return nil })
	})
	return m.live.page
}

// AdminAddr is where the own listener of [AdminOptions].Addr serves the page, empty
// if there is none.
func (m *Mesh) AdminAddr() string {
	if m.live.addr == nil {
		return ""
	}
	return m.live.addr.String()
}

// serveAdmin opens the own listener, if one is wanted.
func (m *Mesh) serveAdmin(ctx context.Context) error {
	o := m.o.Admin
	if o.Addr == "" {
		return nil
	}
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", o.Addr)
	if err != nil {
		return &OptionError{Field: "Admin.Addr", Problem: err.Error(), Err: err}
	}
	page := m.AdminHandler() // before the server: it is closed after it
	m.live.addr = listener.Addr()
	server := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !o.admits(r.Host) {
				http.Error(w, "this page is not served by that name: see Options.Admin.Hosts", http.StatusMisdirectedRequest)
				return
			}
			page.ServeHTTP(w, r)
		}),
		ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 15 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 32 << 10,
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			m.log.Error("the live page is not served any more", "addr", listener.Addr().String(), "error", err)
		}
	}()
	m.onClose(func(ctx context.Context) error {
		m.live.page.Close() // its event streams would not end by themselves
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		if err := server.Shutdown(ctx); err != nil {
			_ = server.Close() // whoever still reads is cut off
		}
		<-served
		return nil
	})
	m.log.Info("live page", "url", fmt.Sprintf("http://%s/", listener.Addr()))
	return nil
}

// adminOptions are where the page has everything from.
func (m *Mesh) adminOptions() admin.Options {
	o := admin.Options{
		Process: m.adminProcess, Totals: m.adminTotals, Summaries: m.adminSummaries, Upstream: m.adminUpstream,
		Config: m.adminConfig, Security: m.adminSecurity, Events: m.adminEvents, Work: m.adminWork,
		Explain: m.adminExplain, Logger: m.log,
	}
	if m.o.Admin.Prometheus != "" {
		o.Mesh = admin.NewPrometheus(m.o.Admin.Prometheus).Edges
	}
	if m.o.Admin.Actions {
		o.Forgive, o.Duties = m.adminForgive, m.adminDuties
	}
	return o
}

func (m *Mesh) adminProcess() admin.Process {
	p := admin.Process{Service: m.o.Service, Started: m.began, Secured: m.identity != nil, Go: runtime.Version()}
	p.Host, _ = os.Hostname() // without a name there is none to show
	if at := m.place(); at.Region != "" {
		p.Place = strings.Trim(at.Region+"/"+at.Zone, "/")
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, d := range info.Deps {
			if d.Path == "github.com/innermesh/innermesh" {
				p.Version = d.Version
			}
		}
	}
	p.Health = m.adminHealth()
	return p
}

func (m *Mesh) adminForgive(service, instance string) error {
	u := m.directory.Known(service)
	if u == nil {
		return fmt.Errorf("there is no upstream %.100q", service)
	}
	found := false
	for _, c := range u.Clusters() {
		found = c.Forgive(instance) || found
	}
	if !found {
		return fmt.Errorf("there is no instance %.100q of %s that is called", instance, service)
	}
	return nil
}
