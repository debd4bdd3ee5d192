package consulca

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"

	"github.com/innermesh/innermesh/internal/consul"
	"github.com/innermesh/innermesh/tlsutil"
)

// Terms follow what the operator says in Consul's mesh config entry about the
// versions and cipher suites of TLS. What the entry leaves open is as
// [tlsutil.Terms] has it, TLS 1.3 that is, where a sidecar takes 1.2 as well.
//
// An entry that can not be obeyed changes nothing, and is told once: one that
// allows nothing above TLS 1.1, or names a cipher suite that Go has not or has
// for insecure. A minimum below TLS 1.2 counts as 1.2.
//
// Safe for concurrent use. Close ends its goroutine, and so does the end of the
// client.
type Terms struct {
	log   *slog.Logger
	now   atomic.Pointer[terms]
	stop  func()
	fault string // the last refusal in the log; the goroutine's own
}

// terms are those of one entry.
type terms struct{ incoming, outgoing tlsutil.Terms }

// NewTerms follows the entry until Close. It does not wait for an answer. Log
// hears of changes and refusals, once each; nil is slog.Default(). The error is
// that of a closed client.
func NewTerms(client *consul.Client, log *slog.Logger) (*Terms, error) {
	if log == nil {
		log = slog.Default()
	}
	t := &Terms{log: log}
	t.now.Store(&terms{})
	stop, err := client.Go(func(ctx context.Context) {
		// The error is the end of ctx or of the client.
		_ = client.Watch(ctx, consul.Query{Path: "/v1/config/mesh/mesh"}, t.take)
	})
	if err != nil {
		return nil, fmt.Errorf("terms of TLS from Consul: %w", err)
	}
	t.stop = stop
	return t, nil
}

// Incoming are the terms for servers.
func (t *Terms) Incoming() tlsutil.Terms { return t.now.Load().incoming }

// Outgoing are the terms for clients.
func (t *Terms) Outgoing() tlsutil.Terms { return t.now.Load().outgoing }

// Close stops following and returns when that has ended. What was said last stays
// in force.
func (t *Terms) Close() error {
	t.stop()
	return nil
}

func (t *Terms) take(r consul.Result) {
	if r.Err != nil {
		return // the client has told, and what was known stays true
	}
	next := &terms{}
	if r.Found {
		var err error
		if next, err = decodeTerms(r.Body); err != nil {
			if s := err.Error(); s != t.fault {
				t.fault = s
				t.log.Error("Consul's mesh config entry can not be obeyed: what was in force stays", "error", err)
			}
			return
		}
	}
	t.fault = ""
	before := t.now.Swap(next)
	if !before.incoming.Equal(next.incoming) || !before.outgoing.Equal(next.outgoing) {
		t.log.Info("the terms of TLS have changed", "incoming", next.incoming, "outgoing", next.outgoing)
	}
}

// entryTerms is one direction in the entry.
type entryTerms struct {
	TLSMinVersion string   `json:"TLSMinVersion"`
	TLSMaxVersion string   `json:"TLSMaxVersion"`
	CipherSuites  []string `json:"CipherSuites"`
}

func decodeTerms(body []byte) (*terms, error) {
	var entry struct {
		TLS struct {
			Incoming entryTerms `json:"Incoming"`
			Outgoing entryTerms `json:"Outgoing"`
		} `json:"TLS"`
	}
	if err := json.Unmarshal(body, &entry); err != nil {
		return nil, fmt.Errorf("mesh config entry: %w", err)
	}
	incoming, err := entry.TLS.Incoming.terms("TLS.Incoming")
	outgoing, err2 := entry.TLS.Outgoing.terms("TLS.Outgoing")
	if err := errors.Join(err, err2); err != nil {
		return nil, err
	}
	return &terms{incoming, outgoing}, nil
}

func (e entryTerms) terms(path string) (t tlsutil.Terms, err error) {
	var faults []error
	version := func(field, name string) (v uint16, old bool) {
		switch name {
		case "", "TLS_AUTO":
		case "TLSv1_0", "TLSv1_1":
			old = true
		case "TLSv1_2":
			v = tls.VersionTLS12
		case "TLSv1_3":
			v = tls.VersionTLS13
		default:
			faults = append(faults, fmt.Errorf("%s.%s: %q: is no version that is known", path, field, name))
		}
		return v, old
	}
	var old bool
	if t.MinVersion, old = version("TLSMinVersion", e.TLSMinVersion); old {
		t.MinVersion = tls.VersionTLS12
	}
	if t.MaxVersion, old = version("TLSMaxVersion", e.TLSMaxVersion); old {
		faults = append(faults, fmt.Errorf("%s.TLSMaxVersion: %s: nothing below TLS 1.2 is spoken", path, e.TLSMaxVersion))
	}
	for i, name := range e.CipherSuites {
		suites := tls.CipherSuites()
		at := slices.IndexFunc(suites, func(s *tls.CipherSuite) bool { return s.Name == name })
		if at < 0 {
			faults = append(faults, fmt.Errorf("%s.CipherSuites[%d]: %q: is none that Go has for secure", path, i, name))
			continue
		}
		t.CipherSuites = append(t.CipherSuites, suites[at].ID)
	}
	if err := errors.Join(faults...); err != nil {
		return t, err
	}
	if err := t.Validate(); err != nil {
		return t, fmt.Errorf("%s: %w", path, err)
	}
	return t, nil
}
