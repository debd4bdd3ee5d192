package mesh

import (
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/innermesh/innermesh/internal/telemetry"
	"github.com/innermesh/innermesh/policy"
)

// After an outage Consul tells again what it has told before: that is no news, of
// what is in force as well as of what is refused.
func TestDocumentsAreToldOfOnce(t *testing.T) {
	var log strings.Builder
	tel, err := telemetry.New(telemetry.Options{}, "checkout")
	if err != nil {
		t.Fatal(err)
	}
	p := newPolicies(Options{}, nil, tel, slog.New(slog.NewTextHandler(&log, nil)))
	defer p.close()
	told := func(u policyUpdate, want string) {
		t.Helper()
		u.what = "document"
		p.take("web", u)
		if got := log.String(); (want == "") != (got == "") || !strings.Contains(got, want) || strings.Count(got, "\n") > 1 {
			t.Errorf("logged %q, want %q", got, want)
		}
		log.Reset()
	}
	good := policyUpdate{index: 5, found: true, layers: map[slot]policy.Layer{}}
	bad := policyUpdate{index: 6, found: true, err: errors.New("nonsense")}
	told(good, "policy applied")
	told(good, "")
	told(bad, "policy refused")
	told(bad, "")
	if len(p.refusals("web")) != 1 {
		t.Errorf("refused: %v", p.refusals("web"))
	}
	bad.err = errors.New("other nonsense")
	told(bad, "policy refused")
	told(good, "policy applied")
	told(good, "")
}
