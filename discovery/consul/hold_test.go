package consul

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/innermesh/innermesh/discovery"
	"github.com/innermesh/innermesh/internal/consul"
)

// moment is what a Consul says from some time on. It goes on blocking queries as
// the real one does.
type moment struct {
	at        time.Duration
	index     int // 0: it is down
	instances string
}

// history is a Consul whose fate is known.
type history struct {
	start   time.Time
	moments []moment
}

func (h history) RoundTrip(req *http.Request) (*http.Response, error) {
	now, next := h.at(time.Since(h.start))
	if now.index == 0 {
		return nil, errors.New("connection refused")
	}
	if req.URL.Query().Get("index") == strconv.Itoa(now.index) {
		timer := time.NewTimer(time.Until(h.start.Add(next)))
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-req.Context().Done():
			return nil, req.Context().Err()
		}
		if now, _ = h.at(next); now.index == 0 {
			return nil, io.ErrUnexpectedEOF
		}
	}
	return &http.Response{
		StatusCode: http.StatusOK, Header: http.Header{"X-Consul-Index": {strconv.Itoa(now.index)}},
		Body: io.NopCloser(strings.NewReader(now.instances)),
	}, nil
}

// at returns what is so at a time, and when that changes.
func (h history) at(t time.Duration) (now moment, next time.Duration) {
	next = 1000 * time.Hour
	for _, m := range h.moments {
		if m.at > t {
			return now, m.at
		}
		now = m
	}
	return now, next
}

// list writes instances of the machine n as Consul would: "a", or "a!" if it is
// critical, or "a:82" if it is at another port than 81.
func list(machine string, ids ...string) string {
	entries := make([]string, 0, len(ids))
	for _, id := range ids {
		id, critical := strings.CutSuffix(id, "!")
		status := "passing"
		if critical {
			status = "critical"
		}
		id, port, found := strings.Cut(id, ":")
		if !found {
			port = "81"
		}
		entries = append(entries, fmt.Sprintf(`{"Node":{"ID":%q,"Node":"n"},"Service":{"ID":%q,"Address":%q,"Port":%s},"Checks":[{"Status":%q}]}`,
			machine, id, "host-"+id, port, status))
	}
	return "[" + strings.Join(entries, ",") + "]"
}

// tale is what was told, and when.
func tale(t *testing.T, o Options, until time.Duration, moments ...moment) (told []string, log *journal) {
	t.Helper()
	return taleOf(t, o, nil, until, moments...)
}

// taleOf is what is told to a receiver that knows something already.
func taleOf(t *testing.T, o Options, known func() discovery.Snapshot, until time.Duration, moments ...moment) (told []string, log *journal) {
	t.Helper()
	log = &journal{}
	o.Logger = slog.New(slog.NewTextHandler(log, nil))
	client := newClient(t, consul.Options{Transport: history{time.Now(), moments}})
	start := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), until)
	defer cancel()
	err := New(client, o).WatchKnown(ctx, discovery.Query{Service: "web"}, known, func(u discovery.Update) {
		var ids []string
		for _, i := range u.Snapshot.Instances {
			id := strings.TrimPrefix(i.ID, "n/")
			if i.Health == discovery.Critical {
				id += "!"
			}
			ids = append(ids, id)
		}
		if u.Err != nil {
			ids = []string{"error"}
		}
		told = append(told, fmt.Sprintf("%d:%s", time.Since(start).Round(time.Second)/time.Second, strings.Join(ids, "+")))
	})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Watch returned %v", err)
	}
	client.Close()
	synctest.Wait()
	return told, log
}

func TestHold(t *testing.T) {
	const down = 0
	start := moment{0, 900, list("m1", "a", "b", "c")}
	crash := moment{60 * time.Second, down, ""}
	const back = 60*time.Second + time.Millisecond // a watch asks again within a second
	for _, c := range []struct {
		name    string
		o       Options
		moments []moment
		want    string // A is when the watch has asked again, B the end of the hold
		held    bool
	}{
		{"all come back, one after the other", Options{}, []moment{start, crash,
			{back, 14, "[]"},
			{63 * time.Second, 17, list("m2", "b")},
			{65 * time.Second, 18, list("m2", "a", "b", "c")},
		}, "0:a+b+c 60:error A:a+b+c", true},
		{"one does not come back", Options{}, []moment{start, crash,
			{back, 14, "[]"},
			{63 * time.Second, 17, list("m2", "a", "b")},
		}, "0:a+b+c 60:error A:a+b+c B:a+b", true},
		{"nobody comes back", Options{}, []moment{start, crash,
			{back, 14, "[]"},
		}, "0:a+b+c 60:error A:a+b+c B:", true},
		{"who came back and leaves has left", Options{}, []moment{start, crash,
			{back, 14, list("m2", "a")},
			{65 * time.Second, 15, list("m2")},
		}, "0:a+b+c 60:error A:a+b+c 65:b+c B:", true},
		{"back, but not probed yet", Options{}, []moment{start, crash,
			{back, 14, list("m2", "a!", "b", "c")},
			{65 * time.Second, 15, list("m2", "a", "b", "c")},
		}, "0:a+b+c 60:error A:a+b+c", true},
		{"back at another address", Options{}, []moment{start, crash,
			{back, 14, list("m2", "a:99!", "b", "c")},
		}, "0:a+b+c 60:error A:a!+b+c", false},
		{"young: its indexes are no lower", Options{}, []moment{{0, 14, list("m1", "a")}, crash,
			{back, 16, "[]"},
		}, "0:a 60:error A:a B:", true},
		{"young, and some are back when it is asked", Options{}, []moment{{0, 14, list("m1", "a", "b")}, crash,
			{back, 16, list("m2", "a")},
		}, "0:a+b 60:error A:a+b B:a", true},
		{"young, back and critical", Options{}, []moment{{0, 14, list("m1", "a")}, crash,
			{back, 16, list("m1", "a!")},
		}, "0:a 60:error A:a B:a!", true},
		{"as it was, then critical, then alive", Options{}, []moment{start, crash,
			{back, 900, list("m1", "a", "b", "c")},
			{62 * time.Second, 901, list("m1", "a!", "b!", "c!")},
			{64 * time.Second, 902, list("m1", "a", "b", "c!")},
			{65 * time.Second, 903, list("m1", "a", "b", "c")},
		}, "0:a+b+c 60:error A:a+b+c", true},
		{"as it was, then gone", Options{}, []moment{start, crash,
			{back, 900, list("m1", "a", "b", "c")},
			{62 * time.Second, 901, "[]"},
		}, "0:a+b+c 60:error A:a+b+c 62:", false},
		{"as it was, and critical much later", Options{}, []moment{start, crash,
			{back, 900, list("m1", "a")},
			{80 * time.Second, 901, list("m1", "a!")},
		}, "0:a+b+c 60:error A:a 80:a!", false},
		{"restored from a snapshot without a crash", Options{}, []moment{start,
			{70 * time.Second, 14, list("m1", "a")},
		}, "0:a+b+c 80:a", true},
		{"left, and Consul remembers", Options{}, []moment{start,
			{70 * time.Second, 901, list("m1", "a")},
			{75 * time.Second, 902, "[]"},
		}, "0:a+b+c 70:a 75:", false},
		{"left while Consul was away, and it remembers", Options{}, []moment{start, crash,
			{back, 901, list("m1", "a")},
		}, "0:a+b+c 60:error A:a", false},
		{"off", Options{Hold: -1}, []moment{start, crash,
			{back, 14, "[]"},
		}, "0:a+b+c 60:error A:", false},
		{"longer", Options{Hold: time.Minute}, []moment{start, crash,
			{back, 14, "[]"},
		}, "0:a+b+c 60:error A:a+b+c B:", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				told, log := tale(t, c.o, 200*time.Second, c.moments...)
				want := c.want
				if strings.Contains(want, "A:") && len(told) > 2 {
					at, _, _ := strings.Cut(told[2], ":")
					again, err := strconv.Atoi(at)
					if err != nil || again < 60 || again > 61 {
						t.Errorf("asked again at %q", told[2])
					}
					end := again + int(cmp.Or(c.o.Hold, defaultHold)/time.Second)
					want = strings.NewReplacer("A:", at+":", "B:", strconv.Itoa(end)+":").Replace(want)
				}
				if got := strings.Join(told, " "); got != want {
					t.Errorf("told %s\nwant %s", got, want)
				}
				lost, ended := log.count("has lost its memory"), log.count("all that Consul had forgotten")+log.count("given up")
				if c.held && (lost != 1 || ended != 1) || !c.held && lost+ended > 0 {
					t.Errorf("held %v, but the log has %d beginnings and %d ends", c.held, lost, ended)
				}
			})
		})
	}
}

// What a receiver goes by from an earlier time is held too, if Consul was away
// at first and has forgotten it, or does not know yet how it is.
func TestHoldWhatWasKnownBefore(t *testing.T) {
	for _, c := range []struct {
		name, want string
		moments    []moment
	}{
		{"all are critical at first", "error a+b", []moment{{}, {time.Second, 900, list("m1", "a!", "b!")},
			{5 * time.Second, 901, list("m1", "a!", "b")}, {6 * time.Second, 902, list("m1", "a", "b")}}},
		{"forgotten", "error a+b ", []moment{{}, {5 * time.Second, 14, "[]"}}},
		{"others have come meanwhile", "error c", []moment{{}, {5 * time.Second, 900, list("m1", "c")}}},
		{"no trouble", "a!+b!", []moment{{0, 900, list("m1", "a!", "b!")}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				before := discovery.Snapshot{Instances: []discovery.Instance{
					{ID: "n/a", Address: "host-a:81", Health: discovery.Passing}, {ID: "n/b", Address: "host-b:81", Health: discovery.Passing},
				}}
				told, _ := taleOf(t, Options{}, func() discovery.Snapshot { return before }, 60*time.Second, c.moments...)
				for i, s := range told {
					_, told[i], _ = strings.Cut(s, ":")
				}
				if got := strings.Join(slices.Compact(told), " "); got != c.want {
					t.Errorf("told %q, want %q", got, c.want)
				}
			})
		})
	}
}

// While Consul can not be asked what is known stays, even when the time of those
// that are held is up.
func TestHoldEndsWithAnAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		told, _ := tale(t, Options{}, 150*time.Second,
			moment{0, 900, list("m1", "a", "b")},
			moment{60 * time.Second, 14, list("m1", "a")}, // restored
			moment{65 * time.Second, 0, ""},
			moment{80 * time.Second, 15, list("m1", "a")},
		)
		if len(told) != 3 || told[1] != "65:error" || !strings.HasSuffix(told[2], ":a") || told[2] == "70:a" {
			t.Errorf("told %q", told)
		}
	})
}

func TestHoldKeepsTheOrder(t *testing.T) {
	var h hold
	h.begin([]discovery.Instance{{ID: "c", Address: "3"}, {ID: "a", Address: "1"}, {ID: "x", Address: "9", Health: discovery.Critical}}, time.Time{})
	var ids []string
	for _, i := range h.merge([]discovery.Instance{{ID: "b", Address: "2"}, {ID: "d", Address: "3"}}) {
		ids = append(ids, i.ID)
	}
	if !slices.Equal(ids, []string{"a", "b", "d"}) { // c's address is d's now, x could not be called anyway
		t.Errorf("got %q", ids)
	}
}
