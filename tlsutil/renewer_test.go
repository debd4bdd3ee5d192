package tlsutil

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// office issues certificates of a DevCA that is replaced now and then.
type office struct {
	mu     sync.Mutex
	ca     *DevCA
	fault  error
	issued []time.Time
	asked  int
}

func (o *office) replace(ca *DevCA, fault error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.ca, o.fault = ca, fault
}

// issue does what Issue of a renewer has to do.
func (o *office) issue(tb testing.TB) func(context.Context, Authority) (tls.Certificate, error) {
	id := serviceID(tb, o.ca, "web")
	return func(context.Context, Authority) (tls.Certificate, error) {
		o.mu.Lock()
		defer o.mu.Unlock()
		if o.asked++; o.fault != nil {
			return tls.Certificate{}, o.fault
		}
		o.issued = append(o.issued, time.Now())
		return o.ca.issue(o.ca.leaf(id, time.Now()))
	}
}

// count is how many certificates were issued, of how many that were asked for.
func (o *office) count() (issued, asked int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.issued), o.asked
}

func (o *office) last() time.Time {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.issued[len(o.issued)-1]
}

// says are the roots of these CAs, the first of which signs.
func says(tb testing.TB, cas ...*DevCA) Authority {
	tb.Helper()
	return Authority{
		Roots: rootsOf(tb, cas...), Domain: cas[0].opts.service("").TrustDomain,
		Active: cas[0].cert.SerialNumber.String(),
	}
}

// fast is a CA whose leaves live so long.
func fast(tb testing.TB, domain string, lifetime time.Duration) *DevCA {
	tb.Helper()
	ca, err := NewDevCA(DevCAOptions{TrustDomain: domain, LeafLifetime: lifetime})
	if err != nil {
		tb.Fatal(err)
	}
	return ca
}

func renewer(t *testing.T, o *office, log *strings.Builder) *Renewer {
	t.Helper()
	r, err := NewRenewer(RenewerOptions{Name: `"web"`, Issue: o.issue(t), Log: slog.New(slog.NewTextHandler(log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	return r
}

func TestRenewsAtTwoThirds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca := fast(t, "", 72*time.Hour)
		o := &office{ca: ca}
		r := renewer(t, o, &strings.Builder{})
		if _, err := r.Identity(); !errors.Is(err, ErrNoIdentity) || !strings.Contains(err.Error(), `"web"`) {
			t.Errorf("before the authority is known: %v", err)
		}
		r.Learn(says(t, ca), nil)
		for n := 1; n <= 20; n++ {
			synctest.Wait()
			id, err := r.Identity()
			if issued, _ := o.count(); err != nil || issued != n {
				t.Fatalf("%d issued, want %d; %v", issued, n, err)
			}
			before, changed := o.last(), r.Changed()
			time.Sleep(time.Until(before.Add(44 * time.Hour)))
			synctest.Wait()
			if again, err := r.Identity(); err != nil || again != id {
				t.Fatalf("renewed within 44 of 72 hours, or gone: %v", err)
			}
			<-changed
			if took := time.Since(before); took > 53*time.Hour {
				t.Fatalf("renewed after %s of 72 hours", took)
			}
		}
	})
}

// A new root is trusted at once; the certificate follows by chance between a third
// and the whole of the span, so that a mesh does not ask at once.
func TestNewRootIsTrustedFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first, second := fast(t, "", 72*time.Hour), fast(t, "", 72*time.Hour)
		var waits []time.Duration
		for range 20 {
			o := &office{ca: first}
			r := renewer(t, o, &strings.Builder{})
			r.Learn(says(t, first), nil)
			synctest.Wait()
			time.Sleep(time.Hour)
			old, changed := o.last(), r.Changed()
			o.replace(second, nil)
			at := time.Now()
			r.Learn(says(t, second, first), nil)
			<-changed
			both, err := r.Identity()
			if err != nil || len(both.Roots().Certificates("dev.internal")) != 2 || o.last() != old {
				t.Fatalf("at first both roots and the old certificate: %v", err)
			}
			<-r.Changed()
			waits = append(waits, time.Since(at))
			id, err := r.Identity()
			if err != nil || id.Certificate().Leaf.CheckSignatureFrom(second.cert) != nil {
				t.Fatalf("the new CA has not signed: %v", err)
			}
			// The old one goes; nothing is to be renewed for that.
			r.Learn(says(t, second), nil)
			synctest.Wait()
			time.Sleep(time.Hour)
			if issued, _ := o.count(); issued != 2 {
				t.Errorf("%d certificates, want 2", issued)
			}
		}
		least, most := waits[0], waits[0]
		for _, w := range waits {
			least, most = min(least, w), max(most, w)
		}
		if least < 10*time.Second || most > 30*time.Second || most-least < 5*time.Second {
			t.Errorf("issued anew after %s to %s, want spread over 10s to 30s", least, most)
		}
	})
}

// The trust domain is another one: old and new trust each other no more, and
// nothing is gained by waiting.
func TestNewTrustDomain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first, second := fast(t, "a.internal", time.Hour), fast(t, "b.internal", time.Hour)
		o := &office{ca: first}
		r, err := NewRenewer(RenewerOptions{Name: "web", Issue: func(_ context.Context, a Authority) (tls.Certificate, error) {
			ca := map[string]*DevCA{"a.internal": first, "b.internal": second}[a.Domain]
			return ca.issue(ca.leaf(serviceID(t, ca, "web"), time.Now()))
		}, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		_ = o
		r.Learn(says(t, first), nil)
		synctest.Wait()
		r.Learn(says(t, second), nil)
		time.Sleep(4 * time.Second)
		synctest.Wait()
		if id, err := r.Identity(); err != nil || id.ID().TrustDomain() != "b.internal" || r.Err() != nil {
			t.Errorf("got %v, %v, %v", id, err, r.Err())
		}
	})
}

// Nobody issues for a week: one warning, one error, no expired certificate, and
// not one try a second.
func TestOutageIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		ca := fast(t, "", 72*time.Hour)
		o := &office{ca: ca}
		r := renewer(t, o, &log)
		r.Learn(says(t, ca), nil)
		synctest.Wait()
		down := errors.New("nobody is there")
		o.replace(ca, down)
		time.Sleep(71 * time.Hour)
		if _, err := r.Identity(); err != nil || !errors.Is(r.Err(), down) {
			t.Errorf("still good, and in trouble: %v, %v", err, r.Err())
		}
		changed := r.Changed()
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		if _, err := r.Identity(); !errors.Is(err, ErrExpired) || !errors.Is(err, down) {
			t.Errorf("got %v", err)
		}
		select {
		case <-changed:
		default:
			t.Error("that it has expired is no news")
		}
		time.Sleep(7 * 24 * time.Hour)
		if _, asked := o.count(); asked < 8*24*60/2 || asked > 8*24*60*2+100 {
			t.Errorf("asked %d times in eight days", asked)
		}
		o.replace(ca, nil)
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if _, err := r.Identity(); err != nil || r.Err() != nil {
			t.Errorf("after all: %v, %v", err, r.Err())
		}
		_ = r.Close()
		for text, want := range map[string]int{"near its end": 1, "has expired": 1, "no newer identity": 1, "identity replaced": 2} {
			if n := strings.Count(log.String(), text); n != want {
				t.Errorf("%q is told %d times, want %d:\n%s", text, n, want, log.String())
			}
		}
	})
}

// What was issued does not fit the roots: what is good stays.
func TestMisfitStaysOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca, other := fast(t, "", 72*time.Hour), fast(t, "", 72*time.Hour)
		o := &office{ca: ca}
		r := renewer(t, o, &strings.Builder{})
		r.Learn(says(t, ca), nil)
		synctest.Wait()
		before, err := r.Identity()
		if err != nil {
			t.Fatal(err)
		}
		o.replace(other, nil)
		r.Renew()
		synctest.Wait()
		if id, err := r.Identity(); err != nil || id != before || !errors.Is(r.Err(), ErrUntrusted) {
			t.Errorf("got %v, %v, %v", id, err, r.Err())
		}
		r.Learn(says(t, other, ca), nil) // the roots were late
		if id, err := r.Identity(); err != nil || id == before || r.Err() != nil {
			t.Errorf("got %v, %v, %v", id, err, r.Err())
		}
		r.Learn(Authority{}, nil)
		if err := r.Err(); err == nil || !strings.Contains(err.Error(), "Roots") {
			t.Errorf("no roots: %v", err)
		}
	})
}

// Somebody else renews: the alarm is the same.
func TestBrought(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		ca := fast(t, "", 10*time.Hour)
		r, err := NewRenewer(RenewerOptions{Name: "web", Log: slog.New(slog.NewTextHandler(&log, nil))})
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		r.Learn(says(t, ca), nil)
		r.Bring(ca.issue(ca.leaf(serviceID(t, ca, "web"), time.Now())))
		if _, err := r.Identity(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(11 * time.Hour)
		synctest.Wait()
		if _, err := r.Identity(); !errors.Is(err, ErrExpired) {
			t.Errorf("got %v", err)
		}
		r.Bring(tls.Certificate{}, errors.New("gone"))
		if _, err := r.Identity(); !errors.Is(err, ErrExpired) || !strings.Contains(err.Error(), "gone") {
			t.Errorf("got %v", err)
		}
		r.Bring(ca.issue(ca.leaf(serviceID(t, ca, "web"), time.Now())))
		if _, err := r.Identity(); err != nil || r.Err() != nil {
			t.Errorf("got %v, %v", err, r.Err())
		}
		_ = r.Close()
		if n := strings.Count(log.String(), "near its end"); n != 1 {
			t.Errorf("the alarm was sounded %d times:\n%s", n, log.String())
		}
	})
}

func TestRenewerOptions(t *testing.T) {
	_, err := NewRenewer(RenewerOptions{Patience: -1})
	if err == nil || !strings.Contains(err.Error(), "Name") || !strings.Contains(err.Error(), "Patience") {
		t.Errorf("got %v", err)
	}
}

// A renewer that has failed a thousand times still waits a minute at most, and
// hurries when little is left.
func TestRetryAfter(t *testing.T) {
	for _, test := range []struct {
		failures    int
		left        time.Duration
		least, most time.Duration
	}{
		{1, 0, 500 * time.Millisecond, time.Second},
		{3, time.Hour, 2 * time.Second, 4 * time.Second},
		{1000, 72 * time.Hour, 30 * time.Second, time.Minute},
		{1000, time.Minute, 3 * time.Second, 6 * time.Second},
		{1000, time.Nanosecond, 25 * time.Millisecond, 50 * time.Millisecond},
	} {
		t.Run(strconv.Itoa(test.failures)+" "+test.left.String(), func(t *testing.T) {
			for range 100 {
				if wait := retryAfter(test.failures, test.left); wait < test.least || wait > test.most {
					t.Fatalf("waits %s, want %s to %s", wait, test.least, test.most)
				}
			}
		})
	}
}
