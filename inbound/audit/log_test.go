package audit_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/innermesh/innermesh/inbound/audit"
	"github.com/innermesh/innermesh/inbound/audit/file"
)

// slow is a handler that waits until it may go on.
type slow struct {
	slog.Handler
	gate chan struct{}
	fail bool
}

func (s *slow) Handle(ctx context.Context, r slog.Record) error {
	<-s.gate
	if s.fail {
		return errors.New("the disk is full")
	}
	return s.Handler.Handle(ctx, r)
}

func open(t *testing.T, o audit.Options) *audit.Log {
	t.Helper()
	l, err := audit.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestRecords(t *testing.T) {
	var out bytes.Buffer
	l := open(t, audit.Options{Handler: slog.NewTextHandler(&out, nil)})
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	l.Record(audit.Record{
		Time: at, Allowed: true, Caller: "spiffe://d/a", Via: "spiffe://d/gw", Service: "web", Protocol: "http", Method: "GET",
		Path: "/orders/42?token=hidden#hidden", Reason: "permission", Rule: "a => web", TraceID: "0af7", RequestID: "r1", Remote: "10.0.0.1:5",
	})
	l.Record(audit.Record{Time: at, DryRun: true, Path: "/" + strings.Repeat("ä", 1000), Method: "\xff\n"})
	if err := l.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	l.Record(audit.Record{}) // after the end
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	want := `time=2026-01-02T03:04:05.000Z level=INFO msg=access decision=allow caller=spiffe://d/a via=spiffe://d/gw service=web protocol=http ` +
		`method=GET path=/orders/42 reason=permission rule="a => web" trace_id=0af7 request_id=r1 remote=10.0.0.1:5`
	if len(lines) != 2 || lines[0] != want || !strings.HasPrefix(lines[1], "time=2026-01-02T03:04:05.000Z level=WARN msg=access decision=deny dry_run=true method=\"\uFFFD\\n\" path=/ää") || len(lines[1]) > 1200 {
		t.Errorf("%d records:\n%v", len(lines), &out)
	}
	if l.Dropped() != 1 {
		t.Errorf("%d dropped", l.Dropped())
	}
}

func TestSampling(t *testing.T) {
	handler := slog.DiscardHandler
	for ratio, want := range map[float64]float64{0: 1, 1: 1, -1: 0, 0.25: 0.25} {
		l := open(t, audit.Options{Handler: handler, AllowedRatio: ratio})
		kept := 0
		for range 10_000 {
			if !l.Wants(false) {
				t.Fatal("a refusal is left out")
			}
			if l.Wants(true) {
				kept++
			}
		}
		if share := float64(kept) / 10_000; math.Abs(share-want) > 0.03 {
			t.Errorf("ratio %v: %v kept", ratio, share)
		}
		if err := l.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

// Who records never waits, and refusals are the last to be dropped.
func TestSlowHandler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out, log bytes.Buffer
		h := &slow{Handler: slog.NewTextHandler(&out, nil), gate: make(chan struct{})}
		l := open(t, audit.Options{Handler: h, Queue: 8, Logger: slog.New(slog.NewTextHandler(&log, nil))})
		l.Record(audit.Record{Allowed: true})
		synctest.Wait() // the handler has it
		var writers sync.WaitGroup
		for range 4 {
			writers.Go(func() {
				for range 5 {
					l.Record(audit.Record{Allowed: true})
				}
			})
		}
		writers.Wait()
		for range 6 {
			l.Record(audit.Record{})
		}
		if l.Dropped() != 16+2 {
			t.Errorf("%d dropped, want 16 of 20 that were allowed and 2 of 6 others", l.Dropped())
		}
		close(h.gate)
		synctest.Wait()
		if err := l.Close(t.Context()); err != nil {
			t.Error(err)
		}
		if n := strings.Count(out.String(), "decision=deny"); n != 4 || strings.Count(out.String(), "decision=allow") != 5 {
			t.Errorf("written:\n%v", &out)
		}
		if strings.Count(log.String(), "being lost") != 1 || strings.Count(log.String(), "kept again") != 1 {
			t.Errorf("logged:\n%v", &log)
		}
	})
}

func TestCloseDoesNotHang(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &slow{Handler: slog.NewJSONHandler(&bytes.Buffer{}, nil), gate: make(chan struct{})}
		l := open(t, audit.Options{Handler: h})
		for range 3 {
			l.Record(audit.Record{})
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := l.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		close(h.gate)
		synctest.Wait()
		if l.Dropped() != 2 {
			t.Errorf("%d dropped", l.Dropped())
		}
		if err := l.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestFailingHandlerIsCounted(t *testing.T) {
	var log bytes.Buffer
	h := &slow{Handler: slog.NewJSONHandler(&bytes.Buffer{}, nil), gate: make(chan struct{}), fail: true}
	close(h.gate)
	l := open(t, audit.Options{Handler: h, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	for range 3 {
		l.Record(audit.Record{})
	}
	if err := l.Close(t.Context()); err != nil || l.Dropped() != 3 || strings.Count(log.String(), "disk is full") != 1 {
		t.Error(err, l.Dropped(), log.String())
	}
}

func TestValidate(t *testing.T) {
	err := audit.Options{AllowedRatio: math.NaN(), Queue: -1}.Validate()
	for _, field := range []string{"Handler", "AllowedRatio", "Queue"} {
		if err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%s is missing in %v", field, err)
		}
	}
	if _, err := audit.New(audit.Options{}); err == nil {
		t.Error("options are not looked at")
	}
	err = file.Options{MaxSize: -1, MaxFiles: -1, MaxDays: -1}.Validate()
	for _, field := range []string{"Path", "MaxSize", "MaxFiles", "MaxDays"} {
		if err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%s is missing in %v", field, err)
		}
	}
}

// A full file is put aside, and the next one goes on; nothing is lost between.
func TestFile(t *testing.T) {
	dir := t.TempDir()
	f, err := file.New(file.Options{Path: filepath.Join(dir, "sub", "access.log"), MaxSize: 1, Compress: false})
	if err != nil {
		t.Fatal(err)
	}
	l := open(t, audit.Options{Handler: f, Queue: 4000})
	path := "/" + strings.Repeat("x", 900)
	for range 2000 {
		l.Record(audit.Record{Path: path})
	}
	if err := errors.Join(l.Close(t.Context()), f.Close()); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "sub", "*"))
	if err != nil || len(files) < 2 {
		t.Fatal(files, err)
	}
	lines := 0
	for _, name := range files {
		info, err := os.Stat(name)
		if err != nil || info.Mode().Perm() != 0o600 || info.Size() > 1<<20 {
			t.Errorf("%s: %v, %v", name, info, err)
		}
		content, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(content)) {
			var r struct{ Msg, Decision string }
			if err := json.Unmarshal([]byte(line), &r); err != nil || r.Msg != "access" || r.Decision != "deny" { //nolint:musttag // names are found whatever their case
				t.Fatalf("%s: %v", line, err)
			}
			lines++
		}
	}
	if lines != 2000 {
		t.Errorf("%d records", lines)
	}
}

func BenchmarkRecord(b *testing.B) {
	l, err := audit.New(audit.Options{Handler: slog.NewJSONHandler(&bytes.Buffer{}, nil)})
	if err != nil {
		b.Fatal(err)
	}
	r := audit.Record{Allowed: true, Caller: "spiffe://d/a", Service: "web", Path: "/orders/42"}
	b.ReportAllocs()
	for b.Loop() {
		l.Record(r)
	}
	if err := l.Close(b.Context()); err != nil {
		b.Fatal(err)
	}
}
