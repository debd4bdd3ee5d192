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
)

// dumpEnv names a folder for what the oracle says about each scenario.
const dumpEnv = "PARITY_DUMP"

// TestConformance plays every scenario.
func TestConformance(t *testing.T) {
	t.Parallel()
	primary := consultest.Start(t, consultest.Options{Config: `datacenter = "dc1" primary_datacenter = "dc1"`})
	lab, err := parity.NewLab(primary, nil)
	if err != nil {
		t.Fatal(err)
	}
	oracle, err := parity.NewOracle(primary)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := oracle.Close(); err != nil {
			t.Error(err)
		}
	})
	names := map[string]bool{}
	for _, s := range parity.Scenarios() {
		if names[s.Name] {
			t.Errorf("two scenarios %q", s.Name)
		}
		names[s.Name] = true
		if s.Alone {
			continue
		}
		t.Run(s.Name, func(t *testing.T) {
			t.Parallel()
			play(t, lab, oracle, s)
		})
	}
}

func play(t *testing.T, lab *parity.Lab, oracle *parity.Oracle, s parity.Scenario) {
	t.Helper()
	ctx, cancel := context.WithTimeoutCause(t.Context(), 20*time.Second, errors.New("it took more than 20 s"))
	defer cancel()
	undo, err := lab.Play(ctx, s)
	defer func() {
		if err := undo(); err != nil {
			t.Error(err)
		}
	}()
	if s.Refused != "" {
		status, ok := errors.AsType[api.StatusError](err)
		if !ok || !strings.Contains(status.Body, s.Refused) {
			t.Errorf("%s: Consul says %v, want a refusal with %q", s.Why, err, s.Refused)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	u, err := oracle.Ask(ctx, s.Question())
	if err != nil {
		t.Fatal(err)
	}
	dump(t, s, u)
	if (u.Protocol == "tcp") != (len(s.Tries) == 0) {
		t.Errorf("%d requests tried on a %s service", len(s.Tries), u.Protocol)
	}
	documented := u.Documented()
	for _, try := range s.Tries {
		checkTry(t, s, documented, try)
	}
}

func checkTry(t *testing.T, s parity.Scenario, u *parity.Upstream, try parity.Try) {
	t.Helper()
	d, err := u.Evaluate(try.Request)
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
