package deadletter_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/innermesh/innermesh/deadletter"
	"github.com/innermesh/innermesh/deadletter/deadlettertest"
)

func TestIDsSort(t *testing.T) {
	at := time.Now()
	var ids []string
	for n := range 100 {
		ids = append(ids, deadletter.NewID(at.Add(time.Duration(n)*time.Millisecond)))
	}
	if !slices.IsSorted(ids) || len(slices.Compact(ids)) != 100 {
		t.Errorf("not in order of time: %v", ids)
	}
	if a, b := deadletter.NewID(at), deadletter.NewID(at); a == b || len(a) != 26 {
		t.Errorf("two letters of one millisecond: %s, %s", a, b)
	}
}

func TestFill(t *testing.T) {
	at := time.Now()
	var l deadletter.Letter
	l.Fill(at)
	if l.ID == "" || l.Key == "" || l.State != deadletter.Waiting || !l.Created.Equal(at) {
		t.Errorf("filled to %+v", l)
	}
	own := deadletter.Letter{ID: "own", Key: "own", State: deadletter.Parked, Created: at.Add(-time.Hour)}
	own.Fill(at)
	if own.ID != "own" || own.Key != "own" || own.State != deadletter.Parked || own.Created.Equal(at) {
		t.Errorf("what was said is overwritten: %+v", own)
	}
}

func TestValidate(t *testing.T) {
	for field, break_ := range map[string]func(l *deadletter.Letter){
		"ID":          func(l *deadletter.Letter) { l.ID = "../x" },
		"State":       func(l *deadletter.Letter) { l.State = "lost" },
		"Protocol":    func(l *deadletter.Letter) { l.Protocol = "" },
		"Service":     func(l *deadletter.Letter) { l.Service = "" },
		"Method":      func(l *deadletter.Letter) { l.Method = "A B" },
		"URL":         func(l *deadletter.Letter) { l.URL = "/42" },
		"Key":         func(l *deadletter.Letter) { l.Key = strings.Repeat("k", 513) },
		"Created":     func(l *deadletter.Letter) { l.Created = time.Time{} },
		"Header[X-A]": func(l *deadletter.Letter) { l.Header = http.Header{"X-A": {"a\r\nX-B: b"}} },
		"Header[X:A]": func(l *deadletter.Letter) { l.Header = http.Header{"X:A": {"a"}} },
		"Deliveries":  func(l *deadletter.Letter) { l.Deliveries = -1 },
	} {
		l := deadlettertest.Letter(1)
		if err := l.Validate(); err != nil {
			t.Fatal(err)
		}
		break_(&l)
		if err := l.Validate(); err == nil || !strings.HasPrefix(err.Error(), field) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: got %v", field, err)
		}
	}
	bad := deadletter.Letter{}
	if err := bad.Validate(); strings.Count(err.Error(), "\n") != 6 {
		t.Errorf("not all faults at once: %v", err)
	}
}

// Whatever the verb and the logger: no header, body or key is shown.
func TestPrintedLettersKeepTheirSecrets(t *testing.T) {
	l := deadlettertest.Letter(1)
	l.Header, l.Body, l.URL, l.Key = http.Header{"X-Card": {"4111secret"}}, []byte("4111secret"), "http://orders/?card=4111secret", "4111secret"
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d", "%x"} {
		for _, v := range []any{l, &l, []deadletter.Letter{l}, struct{ L *deadletter.Letter }{&l}.L} {
			fmt.Fprintf(&out, verb, v)
		}
	}
	slog.New(slog.NewTextHandler(&out, nil)).Info("x", "letter", l, "pointer", &l)
	slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "letter", l, "pointer", &l)
	if s := out.String(); strings.Contains(s, "secret") || strings.Contains(s, fmt.Sprintf("%x", "secret")) || strings.Contains(s, fmt.Sprint([]byte("411"))) {
		t.Errorf("shown: %s", s)
	}
	if !strings.Contains(out.String(), l.ID) {
		t.Errorf("not named: %s", &out)
	}
}

func TestDecodeRefuses(t *testing.T) {
	l := deadlettertest.Letter(1)
	data, err := deadletter.Encode(l)
	if err != nil {
		t.Fatal(err)
	}
	for i := range data {
		turned := bytes.Clone(data)
		turned[i] ^= 1
		if _, err := deadletter.Decode(turned); !errors.Is(err, deadletter.ErrCorrupt) && !errors.Is(err, deadletter.ErrVersion) {
			t.Errorf("byte %d changed: %v", i, err)
		}
		if _, err := deadletter.Decode(data[:i]); !errors.Is(err, deadletter.ErrCorrupt) {
			t.Errorf("cut at %d: %v", i, err)
		}
	}
	if _, err := deadletter.Decode(append(bytes.Clone(data), 0)); !errors.Is(err, deadletter.ErrCorrupt) {
		t.Errorf("one byte more: %v", err)
	}
	newer := bytes.Clone(data)
	newer[4] = 2
	if _, err := deadletter.Decode(newer); !errors.Is(err, deadletter.ErrVersion) || errors.Is(err, deadletter.ErrCorrupt) {
		t.Errorf("a newer version: %v", err)
	}
}

func FuzzDecode(f *testing.F) {
	for n := range 3 {
		data, err := deadletter.Encode(deadlettertest.Letter(n))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
		f.Add(data[:len(data)/2])
	}
	f.Add([]byte("imdl\x01\xff\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, data []byte) {
		l, err := deadletter.Decode(data)
		if err != nil {
			if !errors.Is(err, deadletter.ErrCorrupt) && !errors.Is(err, deadletter.ErrVersion) {
				t.Errorf("another error: %v", err)
			}
			return
		}
		again, err := deadletter.Encode(l)
		if err != nil {
			t.Fatalf("what was read can not be written: %v", err)
		}
		twice, err := deadletter.Decode(again)
		if err != nil || twice.ID != l.ID || !bytes.Equal(twice.Body, l.Body) {
			t.Errorf("%v became %v, %v", l, twice, err)
		}
	})
}

func FuzzImport(f *testing.F) {
	var lines bytes.Buffer
	m := new(deadletter.Memory)
	for n := range 3 {
		if err := m.Put(f.Context(), deadlettertest.Letter(n)); err != nil {
			f.Fatal(err)
		}
	}
	if _, err := deadletter.Export(f.Context(), m, &lines, deadletter.Filter{}); err != nil {
		f.Fatal(err)
	}
	f.Add(lines.Bytes())
	f.Add([]byte("{}\n"))
	f.Add([]byte(`{"id":"a","state":"waiting","protocol":"http","service":"s","method":"GET","url":"http://s","key":"k","created":"2026-01-01T00:00:00Z"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		m := new(deadletter.Memory)
		n, err := deadletter.Import(t.Context(), m, bytes.NewReader(data))
		d, countErr := deadletter.Count(t.Context(), m, deadletter.Filter{})
		if total := d.Letters[deadletter.Queued] + d.Letters[deadletter.Waiting] + d.Letters[deadletter.Parked]; countErr != nil || total != n {
			t.Errorf("imported %d (%v), there are %d (%v)", n, err, total, countErr)
		}
	})
}

func TestImportStops(t *testing.T) {
	line := `{"id":"%s","state":"waiting","protocol":"http","service":"s","method":"GET","url":"http://s","key":"k","created":"2026-01-01T00:00:00Z"%s}` + "\n"
	good := fmt.Sprintf(line, "a", "")
	for name, bad := range map[string]string{
		"no letter":     "{}\n",
		"no JSON":       "letter\n",
		"unknown field": fmt.Sprintf(line, "b", `,"extra":1`),
		"two on a line": strings.TrimSpace(good) + fmt.Sprintf(line, "b", ""),
		"truncated":     good[:20],
	} {
		m := new(deadletter.Memory)
		n, err := deadletter.Import(t.Context(), m, strings.NewReader(good+"\n"+bad+fmt.Sprintf(line, "c", "")))
		if n != 1 || !errors.Is(err, deadletter.ErrCorrupt) || !strings.Contains(err.Error(), "line 3") {
			t.Errorf("%s: %d, %v", name, n, err)
		}
	}
}
