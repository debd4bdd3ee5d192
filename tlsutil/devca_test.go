package tlsutil

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestDevCA(t *testing.T) {
	ca := newCA(t, "")
	if c := ca.cert; !c.IsCA || c.MaxPathLen != 0 || !c.MaxPathLenZero || c.URIs[0].String() != "spiffe://dev.internal" {
		t.Errorf("the CA may have CAs below it, or another name: %+v", c)
	}
	id, err := source(t, ca, "web").Identity()
	if err != nil {
		t.Fatal(err)
	}
	if id.ID().String() != "spiffe://dev.internal/ns/default/dc/dc1/svc/web" {
		t.Errorf("got %s", id.ID())
	}
	key, ok := id.Certificate().PrivateKey.(*ecdsa.PrivateKey)
	if !ok || key.Curve != elliptic.P256() {
		t.Error("the key is not ECDSA P-256")
	}
	if left := time.Until(id.NotAfter()); left > time.Hour+time.Second || left < 59*time.Minute {
		t.Errorf("lives for %s, want 1h", left)
	}
	if domains := id.Roots().Domains(); len(domains) != 1 || domains[0] != "dev.internal" || id.Roots().Pool("x") != nil {
		t.Errorf("roots for %q", domains)
	}
	// What Pool returns is the caller's own.
	pool := id.Roots().Pool("dev.internal")
	pool.AddCert(newCA(t, "").cert)
	if pool.Equal(id.Roots().Pool("dev.internal")) {
		t.Error("the roots can be changed from outside")
	}
}

func TestDevCAOptions(t *testing.T) {
	ca, err := NewDevCA(DevCAOptions{TrustDomain: "td", Namespace: "blue", Datacenter: "east", LeafLifetime: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	if id := serviceID(t, ca, "web"); id.String() != "spiffe://td/ns/blue/dc/east/svc/web" {
		t.Errorf("got %s", id)
	}
	_, err = NewDevCA(DevCAOptions{TrustDomain: "T D", Namespace: "a/b", Datacenter: "..", LeafLifetime: time.Millisecond})
	for _, field := range []string{"TrustDomain", "Namespace", "Datacenter", "LeafLifetime"} {
		if err == nil || !strings.Contains(err.Error(), field+":") {
			t.Errorf("%s is not named in %v", field, err)
		}
	}
	for _, service := range []string{"", "a/b", "..", "web?x"} {
		if _, err := ca.Source(service); !errors.Is(err, ErrBadID) {
			t.Errorf("a source for %q: %v", service, err)
		}
		if _, err := ca.WriteFiles(t.TempDir(), service); !errors.Is(err, ErrBadID) {
			t.Errorf("files for %q: %v", service, err)
		}
	}
}

func TestRotate(t *testing.T) {
	src := source(t, newCA(t, ""), "web")
	before, err := src.Identity()
	if err != nil {
		t.Fatal(err)
	}
	changed := src.Changed()
	if err := src.Rotate(); err != nil {
		t.Fatal(err)
	}
	<-changed
	after, err := src.Identity()
	if err != nil || after == before || after.ID() != before.ID() {
		t.Errorf("got %v, %v", after, err)
	}
	if before.Certificate().PrivateKey.(*ecdsa.PrivateKey).Equal(after.Certificate().PrivateKey) {
		t.Error("the key was kept")
	}
}

// Half a year with a leaf of a day: whoever asks once an hour always gets a leaf
// with a quarter of its life left, and each lives for about two thirds.
func TestRenewalOverMonths(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca, err := NewDevCA(DevCAOptions{LeafLifetime: 24 * time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		client, server := source(t, ca, "web"), source(t, ca, "inventory")
		clientTLS := ClientConfig(client, AuthorizeService("inventory"), Options{})
		serverTLS := ServerConfig(server, AuthorizeService("web"), Options{})
		var last *Identity
		var since time.Time
		ages := map[time.Duration]bool{}
		for hour := range 24 * 180 {
			id, err := client.Identity()
			if err != nil {
				t.Fatal(err)
			}
			if left := time.Until(id.NotAfter()); left < 24*time.Hour*27/100 {
				t.Fatalf("after %d hours: a leaf with %s left", hour, left)
			}
			if id != last {
				if age := time.Since(since); last != nil {
					if age < 14*time.Hour || age > 19*time.Hour {
						t.Fatalf("renewed after %s, want about 16h", age)
					}
					ages[age] = true
				}
				last, since = id, time.Now()
			}
			if hour%100 == 0 {
				shake(clientTLS, serverTLS).ok(t)
			}
			time.Sleep(time.Hour)
		}
		if len(ages) < 2 {
			t.Errorf("no jitter: all renewed after %v", ages)
		}
	})
}

// Nobody asked for days, or the machine slept: the first who asks gets a new one.
func TestRenewalAfterSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := source(t, newCA(t, ""), "web")
		time.Sleep(72 * time.Hour)
		var askers sync.WaitGroup
		seen := make([]*Identity, 8)
		for i := range seen {
			askers.Go(func() {
				id, err := src.Identity()
				if err != nil || id.Valid(time.Now()) != nil {
					t.Errorf("got %v, %v", id, err)
				}
				seen[i] = id
			})
		}
		askers.Wait()
		for _, id := range seen {
			if id != seen[0] {
				t.Fatal("renewed more than once")
			}
		}
	})
}

// The shortest lifetime is kept at any time within a second.
func TestShortestLifetime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca, err := NewDevCA(DevCAOptions{LeafLifetime: time.Second})
		if err != nil {
			t.Fatal(err)
		}
		src := source(t, ca, "web")
		for range 20 {
			time.Sleep(99 * time.Millisecond)
			if err := src.Rotate(); err != nil {
				t.Fatal(err)
			}
			id, err := src.Identity()
			if err != nil {
				t.Fatal(err)
			}
			if left := time.Until(id.NotAfter()); left < time.Second || left >= 2*time.Second {
				t.Errorf("lives for %s, want 1s, rounded up to a second", left)
			}
		}
	})
}

func TestDevCAExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca := newCA(t, "")
		src := source(t, ca, "web")
		time.Sleep(devCALifetime - 10*time.Minute)
		if id, err := src.Identity(); err != nil || id.NotAfter().After(ca.cert.NotAfter) {
			t.Fatalf("near the end: %v, %v", id, err)
		}
		time.Sleep(time.Hour)
		if id, err := src.Identity(); !errors.Is(err, ErrExpired) || id != nil {
			t.Errorf("after the end: %v, %v", id, err)
		}
	})
}

func TestDevSourceRace(t *testing.T) {
	src := source(t, newCA(t, ""), "web")
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 20 {
				changed := src.Changed()
				if err := src.Rotate(); err != nil {
					t.Error(err)
				}
				<-changed
				if _, err := src.Identity(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
}

func TestWriteFiles(t *testing.T) {
	ca := newCA(t, "")
	dir := filepath.Join(t.TempDir(), "new", "web")
	for range 2 {
		o, err := ca.WriteFiles(dir, "web")
		if err != nil {
			t.Fatal(err)
		}
		o.Every, o.Log = -1, slog.New(slog.DiscardHandler)
		files, err := NewFiles(o)
		if err != nil {
			t.Fatal(err)
		}
		peer := source(t, ca, "inventory")
		shake(ClientConfig(peer, AuthorizeService("web"), Options{}), ServerConfig(files, AuthorizeService("inventory"), Options{})).ok(t)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		want := map[string]os.FileMode{certFile: 0o644, rootsFile: 0o644, keyFile: 0o600}[e.Name()]
		if info.Mode().Perm() != want {
			t.Errorf("%s has mode %o, want %o", e.Name(), info.Mode().Perm(), want)
		}
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ca.WriteFiles(file, "web"); err == nil {
		t.Error("wrote into a file")
	}
}

func TestNewIdentityRefuses(t *testing.T) {
	ca, other := newCA(t, ""), newCA(t, "other.internal")
	good := forge(t, ca, func(*x509.Certificate) {})
	for name, try := range map[string]func() (*Identity, error){
		"nothing":  func() (*Identity, error) { return NewIdentity(with(good, nil...), nil) },
		"no chain": func() (*Identity, error) { c := good; c.Certificate = nil; return NewIdentity(c, ca.Roots()) },
		"no key":   func() (*Identity, error) { c := good; c.PrivateKey = nil; return NewIdentity(c, ca.Roots()) },
		"another key": func() (*Identity, error) {
			c := good
			c.PrivateKey = ca.key
			return NewIdentity(c, ca.Roots())
		},
		"noise": func() (*Identity, error) {
			c := good
			c.Leaf, c.Certificate = nil, [][]byte{[]byte("noise")}
			return NewIdentity(c, ca.Roots())
		},
		"roots of another domain": func() (*Identity, error) { return NewIdentity(good, other.Roots()) },
		"a CA": func() (*Identity, error) {
			return NewIdentity(forge(t, ca, func(c *x509.Certificate) { c.IsCA = true }), ca.Roots())
		},
	} {
		if id, err := try(); err == nil || id != nil {
			t.Errorf("%s: got %v, %v", name, id, err)
		}
	}
	good.Leaf = nil
	if id, err := NewIdentity(good, ca.Roots()); err != nil || id.NotAfter().IsZero() {
		t.Errorf("without a parsed leaf: %v", err)
	}
}

// An Ed25519 key is a slice of bytes, which fmt would print in full.
func TestIdentityPrintsNoKey(t *testing.T) {
	ca := newCA(t, "")
	public, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.CreateCertificate(rand.Reader, ca.leaf(serviceID(t, ca, "web"), time.Now()), ca.cert, public, ca.key)
	if err != nil {
		t.Fatal(err)
	}
	id, err := NewIdentity(tls.Certificate{Certificate: [][]byte{leaf}, PrivateKey: key}, ca.Roots())
	if err != nil {
		t.Fatal(err)
	}
	seed := key.Seed()[:8]
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%d", "%x"} {
		secret := fmt.Sprintf(verb, seed)
		secret = strings.TrimSuffix(strings.TrimPrefix(secret, "[]byte{"), "}")
		secret = strings.Trim(secret, "[]")
		for _, text := range []string{
			fmt.Sprintf(verb, id),
			fmt.Sprintf(verb, *id),
			fmt.Sprintf(verb, struct{ hidden Identity }{*id}),
		} {
			if strings.Contains(text, secret) {
				t.Errorf("%s prints the key", verb)
			}
		}
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		if text := fmt.Sprintf(verb, id); len(text) > 100 || !strings.Contains(text, "svc/web") {
			t.Errorf("%s prints %q", verb, text)
		}
	}
}

func TestNewRootsRefuses(t *testing.T) {
	ca := newCA(t, "")
	leaf := forge(t, ca, func(*x509.Certificate) {}).Leaf
	_, err := NewRoots(map[string][]*x509.Certificate{"Td": {ca.cert}, "empty": nil, "leaf": {ca.cert, leaf}})
	for _, word := range []string{`"Td"`, `"empty"`, `"leaf": certificate 2`} {
		if err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("%s is not named in %v", word, err)
		}
	}
	if _, err := NewRoots(nil); err == nil {
		t.Error("no roots at all are taken")
	}
}

func TestRootsSum(t *testing.T) {
	a, b := newCA(t, ""), newCA(t, "")
	if rootsOf(t, a, b).sum != rootsOf(t, b, a, b).sum {
		t.Error("order or repetition makes a difference")
	}
	if rootsOf(t, a).sum == rootsOf(t, a, b).sum {
		t.Error("another root makes no difference")
	}
}
