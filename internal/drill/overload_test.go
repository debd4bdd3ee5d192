package drill

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/innermesh/innermesh/discovery"
	"github.com/innermesh/innermesh/mesh"
	"github.com/innermesh/innermesh/policy"
)

// A server that can be overloaded: what bounds it is that few work at once, and
// whoever waits for a worker has given up long before its turn comes.
const (
	overloadEnv = "INNERMESH_DRILL_OVERLOAD" // its limits, as JSON

	workers     = 8
	shift       = 40 * time.Millisecond
	capacity    = float64(workers) / 0.04 // calls a second
	overload    = 3 * capacity
	patience    = time.Second // of callers
	criticalOne = 5           // one of so many calls is critical
)

// overloaded serves with these limits until its standard input ends.
func overloaded(limits string) error {
	var p policy.Inbound
	if err := json.Unmarshal([]byte(limits), &p); err != nil {
		return err
	}
	ctx := context.Background()
	m, err := mesh.New(ctx, mesh.Options{
		Service: "backend", Discovery: discovery.Static{}, Server: mesh.ServerOptions{Inbound: p}, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return err
	}
	places := make(chan struct{}, workers)
	web := &http.Server{ReadHeaderTimeout: time.Minute, Handler: m.Middleware(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		places <- struct{}{} // as a processor: it does not ask whether anybody still waits
		pause(context.Background(), shift)
		<-places
		_, _ = io.WriteString(w, "done")
	}))}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	served := make(chan error, 1)
	go func() { served <- web.Serve(listener) }()
	fmt.Println(listener.Addr())
	_, _ = io.Copy(io.Discard, os.Stdin) // until it ends, however
	err = errors.Join(web.Close(), m.Close(ctx))
	if e := <-served; !errors.Is(e, http.ErrServerClosed) {
		err = errors.Join(err, e)
	}
	return err
}

// crowd is what became of the calls of one kind.
type crowd struct{ made, good, shed, late int }

// wave is an open loop of calls at three times what the server can carry.
type wave struct {
	mu     sync.Mutex
	kinds  [2]crowd // critical ones, and all others
	took   []time.Duration
	faults map[string]int
}

func (w *wave) call(c *http.Client, url string, critical bool) {
	kind := 1
	if critical {
		kind = 0
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader([]byte("work")))
	if err != nil {
		return
	}
	if critical {
		r.Header.Set("Innermesh-Priority", "critical")
	}
	began := time.Now()
	res, err := c.Do(r)
	if err == nil {
		_, err = io.Copy(io.Discard, res.Body)
		_ = res.Body.Close()
	}
	took := time.Since(began)
	w.mu.Lock()
	defer w.mu.Unlock()
	of := &w.kinds[kind]
	of.made++
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		of.late++
	case err != nil:
		w.faults[err.Error()]++
	case res.StatusCode == http.StatusOK:
		of.good++
		w.took = append(w.took, took)
	case res.StatusCode == http.StatusServiceUnavailable && res.Header.Get("Retry-After") != "":
		of.shed++
	default:
		w.faults[res.Status]++
	}
}

// roll calls for a time and returns what became of it.
func roll(c *http.Client, url string, length time.Duration) *wave {
	w := &wave{faults: map[string]int{}}
	var calls sync.WaitGroup
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	begun, start := 0, time.Now()
	for time.Since(start) < length {
		for due := int(time.Since(start).Seconds() * overload); begun < due; begun++ {
			critical := begun%criticalOne == 0
			calls.Go(func() { w.call(c, url, critical) })
		}
		<-tick.C
	}
	calls.Wait()
	return w
}

func (w *wave) made() float64 { return float64(w.kinds[0].made + w.kinds[1].made) }

func (w *wave) p99() time.Duration {
	if len(w.took) == 0 {
		return 0
	}
	slices.Sort(w.took)
	return w.took[len(w.took)*99/100]
}

// Three times what it can carry comes to a server: with an adaptive limit it goes on
// to carry what it can, those who matter are served, and nobody waits for long.
// Without, as good as everybody waits for nothing.
func TestServerIsNotOverrun(t *testing.T) {
	long(t)
	const settling, length = 2500 * time.Millisecond, 4 * time.Second
	goodput := func(w *wave) float64 {
		return float64(w.kinds[0].good+w.kinds[1].good) / length.Seconds() / capacity
	}
	flood := func(id string, p policy.Inbound) *wave {
		limits, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		server := launch(t, id, overloadEnv+"="+string(limits))
		url := "http://" + server.line(t) + "/"
		transport := &http.Transport{MaxIdleConnsPerHost: 2000}
		defer transport.CloseIdleConnections()
		client := &http.Client{Transport: transport}
		roll(client, url, settling)
		w := roll(client, url, length)
		goodput := goodput(w) * capacity
		t.Logf("%s: %.0f calls a second to a server for %.0f: goodput %.0f (%.0f %% of capacity), p99 of the served %v; critical %+v, others %+v, else %v",
			id, float64(w.kinds[0].made+w.kinds[1].made)/length.Seconds(), capacity, goodput, 100*goodput/capacity,
			w.p99().Round(time.Millisecond), w.kinds[0], w.kinds[1], w.faults)
		server.drain(t)
		return w
	}
	bare := flood("without limits", policy.Inbound{})
	var kept *wave
	for range 3 { // what others do on this machine takes capacity away, too
		kept = flood("with limits", policy.Inbound{Adaptive: policy.Adaptive{Max: 1000}})
		if kept.made() >= 0.95*overload*length.Seconds() && goodput(kept) >= 0.85 {
			break
		}
	}
	if kept.made() < 0.95*overload*length.Seconds() { // who cannot even send says nothing about a server beside it
		t.Skipf("%.0f calls were made in three tries, not %.0f: this machine is too busy to overload anything",
			kept.made(), overload*length.Seconds())
	}
	for id, w := range map[string]*wave{"without limits": bare, "with limits": kept} {
		show(t, "three times its capacity comes: with limits it carries what it can (compare without)", "%s: %.0f %% of capacity, p99 %v",
			id, 100*goodput(w), w.p99().Round(time.Millisecond))
	}
	if got := goodput(kept); got < 0.85 {
		t.Errorf("goodput is %.0f %% of capacity, want 85", 100*got)
	}
	if c := kept.kinds[0]; float64(c.good) < 0.99*float64(c.made) {
		t.Errorf("of the critical calls %d of %d were served, want 99 %%", c.good, c.made)
	}
	if p99 := kept.p99(); p99 > 10*shift {
		t.Errorf("p99 of the served is %v, want %v at most", p99, 10*shift)
	}
	if len(kept.faults) > 0 {
		t.Errorf("others: %v", kept.faults)
	}
	if got := goodput(bare); got > goodput(kept)/2 {
		t.Errorf("without limits goodput is %.0f %% of capacity: the drill shows nothing", 100*got)
	}
}
