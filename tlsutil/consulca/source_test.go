package consulca_test

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/innermesh/innermesh/internal/consul"
	"github.com/innermesh/innermesh/tlsutil"
	"github.com/innermesh/innermesh/tlsutil/consulca"
)

func identity(t *testing.T, s *consulca.Source) *tlsutil.Identity {
	t.Helper()
	synctest.Wait()
	id, err := s.Identity()
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func TestCertificateAndRootsMakeAnIdentity(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca, a := newRoot(t), newAgent()
		s, _ := follow(t, a)
		changed := s.Changed()
		a.say("leaf", 200, ca.leaf(t, webPath, time.Now(), 72*time.Hour))
		synctest.Wait()
		if _, err := s.Identity(); !errors.Is(err, tlsutil.ErrNoIdentity) {
			t.Errorf("without roots: %v", err)
		}
		select {
		case <-changed:
			t.Error("half an identity is told as news")
		default:
		}
		a.say("roots", 200, rootsOf(t, domain, ca))
		<-changed
		if id := identity(t, s); id.ID().String() != webID() || s.Err() != nil {
			t.Errorf("got %v, %v", id, s.Err())
		}
	})
}

// A change of CA: the new root comes before the certificate that it signs, both
// are trusted, and in the end only the new one.
func TestRootsOverlap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first, second, a := newRoot(t), newRoot(t), newAgent()
		a.say("leaf", 200, first.leaf(t, webPath, time.Now(), 72*time.Hour))
		a.say("roots", 200, rootsOf(t, domain, first))
		s, log := follow(t, a)
		before := identity(t, s)

		a.say("roots", 200, rootsOf(t, domain, second, first))
		both := identity(t, s)
		if !both.Certificate().Leaf.Equal(before.Certificate().Leaf) || !trusts(both, first) || !trusts(both, second) {
			t.Error("while the old certificate is in use, both roots must be trusted")
		}
		a.say("leaf", 200, second.leaf(t, webPath, time.Now(), 72*time.Hour))
		after := identity(t, s)
		if after.Certificate().Leaf.Equal(before.Certificate().Leaf) || !trusts(after, first) {
			t.Error("the new certificate is not in use, or its peers' old ones are not trusted")
		}
		a.say("roots", 200, rootsOf(t, domain, second))
		if last := identity(t, s); trusts(last, first) || !trusts(last, second) {
			t.Error("the old root is still trusted")
		}
		if n := log.count("identity replaced"); n != 4 {
			t.Errorf("%d replacements told, want 4:\n%v", n, log)
		}
	})
}

// trusts says whether that CA's certificates are accepted.
func trusts(id *tlsutil.Identity, ca *root) bool {
	pool := id.Roots().Pool(domain)
	pool.AddCert(ca.cert) // nothing new if it is there
	return pool.Equal(id.Roots().Pool(domain))
}

// What does not fit together does not replace what is good.
func TestMisfitsAreRefused(t *testing.T) {
	ca, other := newRoot(t), newRoot(t)
	now := time.Now()
	good := ca.leaf(t, webPath, now.Add(-time.Minute), time.Hour)
	for name, test := range map[string]struct{ kind, body, says string }{
		"certificate of another CA":       {"leaf", other.leaf(t, webPath, now, time.Hour), tlsutil.ErrUntrusted.Error()},
		"certificate without a service":   {"leaf", ca.leaf(t, "", now, time.Hour), tlsutil.ErrBadID.Error()},
		"certificate that has expired":    {"leaf", ca.leaf(t, webPath, now.Add(-2*time.Hour), time.Hour), tlsutil.ErrExpired.Error()},
		"certificate that is not JSON":    {"leaf", "17", "can not be read"},
		"certificate without a key":       {"leaf", `{"CertPEM": "x", "PrivateKeyPEM": "PRIVATE"}`, "can not be read"},
		"roots of another CA":             {"roots", rootsOf(t, domain, other), tlsutil.ErrUntrusted.Error()},
		"roots of another trust domain":   {"roots", rootsOf(t, "other.consul", ca), "other.consul"},
		"roots without a trust domain":    {"roots", rootsOf(t, "", ca), "trust domain"},
		"no roots":                        {"roots", rootsOf(t, domain), "no certificate"},
		"roots that are no certificates":  {"roots", `{"TrustDomain": "` + domain + `", "Roots": [{"RootCert": "x"}]}`, "root 1"},
		"roots that are not what is said": {"roots", "[]", "can not be read"},
	} {
		t.Run(name, func(t *testing.T) {
			a := newAgent()
			a.say("leaf", 200, good)
			a.say("roots", 200, rootsOf(t, domain, ca))
			s, log := follow(t, a)
			before, err := tlsutil.Ready(t.Context(), s)
			if err != nil {
				t.Fatal(err)
			}
			changed := s.Changed()
			a.say(test.kind, 200, test.body)
			<-changed
			if id, err := s.Identity(); err != nil || id != before {
				t.Errorf("the good identity is gone: %v, %v", id, err)
			}
			if err := s.Err(); err == nil || !strings.Contains(err.Error(), test.says) {
				t.Errorf("got %v, want it to say %q", err, test.says)
			}
			if n := log.count("no newer identity"); n != 1 {
				t.Errorf("told %d times:\n%v", n, log)
			}
			changed = s.Changed()
			a.say("leaf", 200, good)
			a.say("roots", 200, rootsOf(t, domain, ca))
			for s.Err() != nil {
				<-changed
				changed = s.Changed()
			}
		})
	}
}

func TestPermissionIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca, a := newRoot(t), newAgent()
		a.say("roots", 200, rootsOf(t, domain, ca))
		a.say("leaf", 403, "Permission denied: token lacks permission")
		s, _ := follow(t, a)
		synctest.Wait()
		_, err := s.Identity()
		if !errors.Is(err, tlsutil.ErrNoIdentity) || !errors.Is(err, consulca.ErrPermission) || !errors.Is(err, consul.ErrPermission) ||
			!strings.Contains(err.Error(), `"web"`) {
			t.Errorf("got %v", err)
		}
		a.say("leaf", 200, ca.leaf(t, webPath, time.Now(), 72*time.Hour))
		time.Sleep(time.Minute) // a watch without permission asks again after half of this, at least
		identity(t, s)
		if s.Err() != nil {
			t.Error(s.Err())
		}
	})
}

// The agent does not renew: one warning, one error, and no expired certificate.
func TestAlarm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca, a := newRoot(t), newAgent()
		a.say("leaf", 200, ca.leaf(t, webPath, time.Now(), 100*time.Hour))
		a.say("roots", 200, rootsOf(t, domain, ca))
		s, log := follow(t, a)
		identity(t, s)
		for _, step := range []struct {
			to               time.Duration
			warnings, errors int
		}{{89 * time.Hour, 0, 0}, {91 * time.Hour, 1, 0}, {99 * time.Hour, 1, 0}, {101 * time.Hour, 1, 1}, {200 * time.Hour, 1, 1}} {
			changed := s.Changed()
			time.Sleep(step.to - time.Since(start))
			synctest.Wait()
			_, err := s.Identity()
			if expired := step.errors > 0; errors.Is(err, tlsutil.ErrExpired) != expired {
				t.Errorf("after %v: %v", step.to, err)
			}
			if w, e := log.count("near its end"), log.count("has expired: connections"); w != step.warnings || e != step.errors {
				t.Errorf("after %v: %d warnings and %d errors, want %d and %d", step.to, w, e, step.warnings, step.errors)
			}
			select {
			case <-changed:
				if step.to != 101*time.Hour {
					t.Errorf("after %v: news", step.to)
				}
			default:
				if step.to == 101*time.Hour {
					t.Error("that it has expired is no news")
				}
			}
		}
		a.say("leaf", 200, ca.leaf(t, webPath, time.Now(), 100*time.Hour))
		identity(t, s)
		time.Sleep(91 * time.Hour)
		synctest.Wait()
		if n := log.count("near its end"); n != 2 {
			t.Errorf("%d warnings after a renewal that was late again, want 2", n)
		}
	})
}

// start is when a bubble's time begins.
var start = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// A certificate of a CA whose clock is ahead is taken when its time comes.
func TestClockAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca, a := newRoot(t), newAgent()
		a.say("leaf", 200, ca.leaf(t, webPath, time.Now().Add(time.Minute), time.Hour))
		a.say("roots", 200, rootsOf(t, domain, ca))
		s, log := follow(t, a)
		synctest.Wait()
		if _, err := s.Identity(); !errors.Is(err, tlsutil.ErrNoIdentity) || !errors.Is(err, tlsutil.ErrNotYetValid) {
			t.Errorf("before its time: %v", err)
		}
		time.Sleep(2 * time.Minute)
		identity(t, s)
		if n := log.count("no newer identity"); n != 1 {
			t.Errorf("told %d times:\n%v", n, log)
		}
	})
}

func TestOptions(t *testing.T) {
	client, err := consul.New(consul.Options{Transport: newAgent()})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if _, err := consulca.New(client, consulca.Options{}); err == nil || !strings.Contains(err.Error(), "Service") {
		t.Errorf("without a service: %v", err)
	}
	client.Close()
	if _, err := consulca.New(client, consulca.Options{Service: "web"}); !errors.Is(err, consul.ErrClosed) {
		t.Errorf("on a closed client: %v", err)
	}
}
