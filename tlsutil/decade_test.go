package tlsutil

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// decade is a mesh over years: a CA that changes its root and is away for days,
// and services that hear of roots a few seconds apart.
type decade struct {
	t        *testing.T
	random   *rand.Rand
	lifetime time.Duration

	sources []*Renewer

	mu     sync.Mutex // guards what the sources' goroutines use
	roots  []*DevCA   // the first one signs
	away   time.Time
	issues int

	changes, outages, expired int
}

func (d *decade) member(name string) *Renewer {
	id := serviceID(d.t, d.roots[0], name)
	r, err := NewRenewer(RenewerOptions{Name: name, Log: slog.New(slog.DiscardHandler),
		Issue: func(context.Context, Authority) (tls.Certificate, error) {
			d.mu.Lock()
			defer d.mu.Unlock()
			if time.Now().Before(d.away) {
				return tls.Certificate{}, errors.New("away")
			}
			d.issues++
			return d.roots[0].issue(d.roots[0].leaf(id, time.Now()))
		}})
	if err != nil {
		d.t.Fatal(err)
	}
	return r
}

// end closes the sources, after which nothing is issued.
func (d *decade) end() {
	for _, s := range d.sources {
		_ = s.Close()
	}
}

// become changes the roots and tells everybody, each within nine seconds.
func (d *decade) become(roots ...*DevCA) {
	d.mu.Lock()
	d.roots = roots
	d.mu.Unlock()
	now := says(d.t, d.roots...)
	for _, s := range d.sources {
		time.AfterFunc(time.Duration(d.random.Int64N(int64(9*time.Second))), func() { s.Learn(now, nil) })
	}
}

// check looks at everybody, and whether each trusts each.
func (d *decade) check() {
	d.t.Helper()
	synctest.Wait()
	now := time.Now()
	var all []*Identity
	for _, s := range d.sources {
		id, err := s.Identity()
		if err != nil {
			// Without a CA for longer than a third of a life, and until the next try.
			if !errors.Is(err, ErrExpired) || now.After(d.away.Add(time.Minute)) {
				d.t.Fatalf("%s: %v", now, err)
			}
			d.expired++
			continue
		}
		if now.After(id.NotAfter()) {
			d.t.Fatalf("%s: an expired certificate is served", now)
		}
		all = append(all, id)
	}
	for _, a := range all {
		for _, b := range all {
			chain := []*x509.Certificate{a.Certificate().Leaf}
			if err := verifyChain(chain, b.roots.pools[b.id.TrustDomain()], x509.ExtKeyUsageAny, now); err != nil {
				d.t.Fatalf("%s: %s does not trust %s: %v", now, b, a, err)
			}
		}
	}
}

func TestTenYearsOfRotation(t *testing.T) {
	years := 10
	if testing.Short() {
		years = 1
	}
	synctest.Test(t, func(t *testing.T) { live(t, years, 1) })
}

func live(t *testing.T, years int, seed uint64) {
	const day = 24 * time.Hour
	d := &decade{t: t, random: rand.New(rand.NewPCG(seed, 1)), lifetime: 72 * time.Hour}
	d.roots = []*DevCA{fast(t, "", d.lifetime)}
	for i := range 3 {
		d.sources = append(d.sources, d.member(fmt.Sprint("s", i)))
	}
	t.Cleanup(d.end)
	d.become(d.roots...)
	time.Sleep(10 * time.Second)
	end := time.Now().Add(time.Duration(years) * 365 * day)
	nextRoot, nextOutage, dropAt := time.Now().Add(30*day), time.Now().Add(20*day), time.Time{}
	for time.Now().Before(end) {
		d.check()
		now := time.Now()
		up := now.After(d.away.Add(time.Minute))
		switch {
		case up && len(d.roots) == 1 && now.After(nextRoot):
			d.changes++
			d.become(fast(t, "", d.lifetime), d.roots[0])
			for range 36 { // the overlap, looked at closely
				time.Sleep(time.Second)
				d.check()
			}
			dropAt, nextRoot = now.Add(2*d.lifetime), now.Add(time.Duration(20+d.random.IntN(60))*day)
		case up && len(d.roots) == 2 && now.After(dropAt):
			d.become(d.roots[0])
		case up && now.After(nextOutage):
			d.outages++
			d.mu.Lock()
			d.away = now.Add(time.Duration(1+d.random.IntN(48)) * time.Hour)
			d.mu.Unlock()
			nextOutage = d.away.Add(time.Duration(5+d.random.IntN(40)) * day)
		}
		time.Sleep(time.Duration(1+d.random.IntN(24)) * time.Hour)
	}
	d.end()
	t.Logf("%d years: %d certificates, %d changes of root, %d outages, %d looks at who had expired meanwhile",
		years, d.issues, d.changes, d.outages, d.expired)
	if least := 3 * years * 365 / 3; d.issues < least || d.changes < 4*years || d.outages < 5*years {
		t.Errorf("%d certificates, want %d at least; %d changes of root, %d outages", d.issues, least, d.changes, d.outages)
	}
}
