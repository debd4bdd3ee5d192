package parity_test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/innermesh/innermesh/internal/consultest"
	"github.com/innermesh/innermesh/internal/parity"
	"github.com/innermesh/innermesh/policy"
)

// dumpEnv names a folder for what the oracle says about each scenario.
const dumpEnv = "PARITY_DUMP"

// TestConformance plays every scenario. Those that feel each other's entries
// come last, one by one.
func TestConformance(t *testing.T) { //nolint:tparallel // those that come last have the Consul to themselves
	t.Parallel()
	b := start(t)
	names := map[string]bool{}
	var alone []parity.Scenario
	t.Run("together", func(t *testing.T) {
		for _, s := range parity.Scenarios() {
			if names[s.Name] {
				t.Errorf("two scenarios %q", s.Name)
			}
			names[s.Name] = true
			if s.Alone {
				alone = append(alone, s)
				continue
			}
			t.Run(s.Name, func(t *testing.T) {
				t.Parallel()
				b.play(t, s)
			})
		}
	})
	for _, s := range alone {
		t.Run(s.Name, func(t *testing.T) { b.play(t, s) })
	}
	b.tally.check(t)
	b.tally.write(os.Stdout)
}

// bench is where scenarios are played and asked about.
type bench struct {
	*parity.Lab
	*parity.Oracle

	consul *consultest.Agent
	place  place
	tally  *tally
	// defaults are those of a sidecar.
	defaults policy.Service
}

// start runs two datacenters that know each other.
func start(t *testing.T) *bench {
	t.Helper()
	const federated = `primary_datacenter = "dc1" datacenter = `
	dc1 := consultest.Start(t, consultest.Options{Config: federated + `"dc1"`})
	dc2 := consultest.Start(t, consultest.Options{Config: federated + `"dc2"`})
	lab, err := parity.NewLab(t.Context(), dc1, dc2)
	if err != nil {
		t.Fatal(err)
	}
	oracle, err := parity.NewOracle(dc1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := oracle.Close(); err != nil {
			t.Error(err)
		}
	})
	client, err := dc1.Client()
	if err != nil {
		t.Fatal(err)
	}
	roots, _, err := client.Agent().ConnectCARoots((&api.QueryOptions{}).WithContext(t.Context()))
	if err != nil {
		t.Fatal(err)
	}
	return &bench{lab, oracle, dc1, place{"dc1", roots.TrustDomain}, newTally(), sidecarDefaults(t)}
}

func (b *bench) play(t *testing.T, s parity.Scenario) {
	t.Helper()
	how := failed
	defer func() {
		if t.Failed() {
			how = failed
		}
		b.tally.end(how, len(s.Tries))
	}()
	ctx, cancel := context.WithTimeoutCause(t.Context(), 60*time.Second, errors.New("it took more than a minute"))
	defer cancel()
	undo, err := b.Play(ctx, s)
	defer func() {
		if err := undo(); err != nil {
			t.Error(err)
		}
	}()
	if s.Refused != "" {
		status, ok := errors.AsType[api.StatusError](err)
		last := fmt.Sprintf("entry %[1]d of %[1]d", len(s.Entries))
		if !ok || !strings.Contains(status.Body, s.Refused) || !strings.Contains(err.Error(), last) {
			t.Errorf("%s: Consul says %v, want that it refuses %s with %q", s.Why, err, last, s.Refused)
		}
		how = rejected
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	u, err := b.Ask(ctx, s.Question())
	if err != nil {
		t.Fatal(err)
	}
	dump(t, s, u)
	if (u.Protocol == "tcp") != (len(s.Tries) == 0) {
		t.Errorf("%d requests tried on a %s service", len(s.Tries), u.Protocol)
	}
	for _, try := range s.Tries {
		checkTry(t, s, u.Documented(), try)
	}
	checkKnown(t, s, u)
	how = b.compare(ctx, t, s, u)
}

// compare asks innermesh the same question, and says how that ended.
func (b *bench) compare(ctx context.Context, t *testing.T, s parity.Scenario, u *parity.Upstream) string {
	t.Helper()
	subject, err := b.compile(ctx, t, s.Question())
	if must := s.Unusable + s.Unsupported; must != "" {
		if err == nil || !strings.Contains(err.Error(), must) {
			t.Errorf("%s: innermesh says %v, want an error with %q", s.Why, err, must)
		}
		return unusable
	}
	if err != nil {
		t.Fatal(err)
	}
	var m met
	c := parity.Comparison{Except: m.except(false)}
	for _, try := range s.Tries {
		c.Requests = append(c.Requests, try.Request)
	}
	if err := c.Run(u.Documented(), subject); err != nil {
		t.Errorf("%s: %v", s.Why, err)
	}
	how := b.tally.compared(&m, u.Documented())
	// Once more with a sidecar's defaults.
	if subject, err = subject.withDefaults(b.defaults); err != nil {
		t.Fatal(err)
	}
	if diff := parity.Diff(u.Documented(), subject.Upstream(), new(met).except(true)...); diff != "" {
		t.Errorf("%s: with a sidecar's defaults (-sidecar +subject):\n%s", s.Why, diff)
	}
	return how
}

func checkTry(t *testing.T, s parity.Scenario, u *parity.Upstream, try parity.Try) {
	t.Helper()
	d, err := u.Evaluate(try.Request)
	if s.Unusable != "" {
		if err == nil || !strings.Contains(err.Error(), s.Unusable) {
			t.Errorf("%s: got %v, want an error with %q", s.Why, err, s.Unusable)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	got := fmt.Sprintf("route %d, path %s, to %s", d.Route, d.Path, legs(s, d))
	want := fmt.Sprintf("route %d, path %s, to %s", try.Route, cmp.Or(try.Path, try.Request.Path, "/"), try.To)
	if got != want {
		t.Errorf("%s: %s\n got %s\nwant %s", s.Why, try.Request, got, want)
	}
}

// legs writes them as [parity.Try] does.
func legs(s parity.Scenario, d parity.Decision) string {
	if len(d.Legs) == 1 {
		return s.Plain(d.Legs[0].Target)
	}
	var list []string
	for _, l := range d.Legs {
		list = append(list, s.Plain(l.Target)+" "+strconv.FormatFloat(100*l.Share, 'g', 6, 64))
	}
	return strings.Join(list, " + ")
}

// dump writes what the oracle says where somebody wants to read it.
func dump(t *testing.T, s parity.Scenario, u *parity.Upstream) {
	t.Helper()
	dir := os.Getenv(dumpEnv)
	if dir == "" {
		return
	}
	text, err := json.MarshalIndent(u, "", "  ") //nolint:musttag // for reading: the names of the fields are good
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir+"/"+s.Name+".json", append(text, '\n'), 0o600); err != nil {
		t.Fatal(err)
	}
}
