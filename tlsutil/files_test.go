package tlsutil

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// journal keeps what was logged.
type journal struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.buf.Write(p)
}

func (j *journal) lines() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return strings.FieldsFunc(j.buf.String(), func(r rune) bool { return r == '\n' })
}

func (j *journal) logger() *slog.Logger { return slog.New(slog.NewTextHandler(j, nil)) }

// folder is a set of identity files and who reads them.
type folder struct {
	ca    *DevCA
	dir   string
	files *Files
	log   *journal
}

func newFolder(tb testing.TB, every time.Duration) *folder {
	tb.Helper()
	f := &folder{ca: newCA(tb, ""), dir: tb.TempDir(), log: &journal{}}
	f.write(tb, "web")
	files, err := NewFiles(FilesOptions{Dir: f.dir, Every: every, Log: f.log.logger()})
	if err != nil {
		tb.Fatal(err)
	}
	f.files = files
	tb.Cleanup(func() {
		if err := files.Close(); err != nil {
			tb.Error(err)
		}
	})
	return f
}

func (f *folder) write(tb testing.TB, service string) {
	tb.Helper()
	if _, err := f.ca.WriteFiles(f.dir, service); err != nil {
		tb.Fatal(err)
	}
}

func (f *folder) put(tb testing.TB, name string, content []byte) {
	tb.Helper()
	if err := os.WriteFile(filepath.Join(f.dir, name), content, 0o600); err != nil {
		tb.Fatal(err)
	}
}

func (f *folder) get(tb testing.TB, name string) []byte {
	tb.Helper()
	b, err := os.ReadFile(filepath.Join(f.dir, name))
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

func (f *folder) identity(tb testing.TB) *Identity {
	tb.Helper()
	id, err := f.files.Identity()
	if err != nil {
		tb.Fatal(err)
	}
	return id
}

func certPEM(cert *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})
}

func TestFiles(t *testing.T) {
	f := newFolder(t, -1)
	first := f.identity(t)
	if first.ID() != serviceID(t, f.ca, "web") {
		t.Errorf("got %s", first.ID())
	}
	other := source(t, f.ca, "inventory")
	shake(ClientConfig(f.files, AuthorizeService("inventory"), Options{}), ServerConfig(other, AuthorizeService("web"), Options{})).ok(t)

	changed := f.files.Changed()
	if err := f.files.Reload(); err != nil || f.identity(t) != first {
		t.Errorf("files that have not changed were taken again: %v", err)
	}
	select {
	case <-changed:
		t.Error("a change was told, and there was none")
	default:
	}
	f.write(t, "web")
	if err := f.files.Reload(); err != nil {
		t.Fatal(err)
	}
	<-changed
	if second := f.identity(t); second == first || bytes.Equal(second.Certificate().Certificate[0], first.Certificate().Certificate[0]) {
		t.Error("the new files are not in use")
	}
	if lines := f.log.lines(); len(lines) != 1 || !strings.Contains(lines[0], "identity replaced") {
		t.Errorf("logged %q", lines)
	}
}

// Kubernetes swaps a symlink to a folder; the paths stay.
func TestFilesSymlinkSwap(t *testing.T) {
	ca, top := newCA(t, ""), t.TempDir()
	for _, version := range []string{"v1", "v2"} {
		if _, err := ca.WriteFiles(filepath.Join(top, version), "web"); err != nil {
			t.Fatal(err)
		}
	}
	link := func(to string) {
		if err := errors.Join(os.Symlink(to, filepath.Join(top, "tmp")), os.Rename(filepath.Join(top, "tmp"), filepath.Join(top, "data"))); err != nil {
			t.Fatal(err)
		}
	}
	link("v1")
	files, err := NewFiles(FilesOptions{Dir: filepath.Join(top, "data"), Every: -1, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	before, err := files.Identity()
	if err != nil {
		t.Fatal(err)
	}
	link("v2")
	if err := files.Reload(); err != nil {
		t.Fatal(err)
	}
	if after, err := files.Identity(); err != nil || after == before {
		t.Errorf("the swap went unseen: %v", err)
	}
}

// Every half-way state keeps the last good identity, says why, says it once,
// and is over when the files are good again.
func TestFilesKeepTheLastGood(t *testing.T) {
	otherCA := newCA(t, "")
	half := func(b []byte) []byte { return b[:len(b)/2] }
	for name, spoil := range map[string]func(t *testing.T, f *folder){
		"new certificate, old key": func(t *testing.T, f *folder) {
			f.put(t, certFile, certPEM(forge(t, f.ca, func(*x509.Certificate) {}).Leaf))
		},
		"new key, old certificate": func(t *testing.T, f *folder) {
			key := f.get(t, keyFile)
			cert := f.get(t, certFile)
			f.write(t, "web")
			f.put(t, certFile, cert)
			if bytes.Equal(key, f.get(t, keyFile)) {
				t.Fatal("the key has not changed")
			}
		},
		"half a certificate": func(t *testing.T, f *folder) { f.put(t, certFile, half(f.get(t, certFile))) },
		"half a key":         func(t *testing.T, f *folder) { f.put(t, keyFile, half(f.get(t, keyFile))) },
		"half a bundle": func(t *testing.T, f *folder) {
			two := append(f.get(t, rootsFile), half(certPEM(otherCA.cert))...)
			f.put(t, rootsFile, two)
		},
		"empty certificate":  func(t *testing.T, f *folder) { f.put(t, certFile, nil) },
		"empty key":          func(t *testing.T, f *folder) { f.put(t, keyFile, nil) },
		"empty bundle":       func(t *testing.T, f *folder) { f.put(t, rootsFile, nil) },
		"a key as a bundle":  func(t *testing.T, f *folder) { f.put(t, rootsFile, f.get(t, keyFile)) },
		"a leaf as a bundle": func(t *testing.T, f *folder) { f.put(t, rootsFile, f.get(t, certFile)) },
		"noise in a bundle": func(t *testing.T, f *folder) {
			f.put(t, rootsFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("noise")}))
		},
		"a bundle that does not fit": func(t *testing.T, f *folder) { f.put(t, rootsFile, certPEM(otherCA.cert)) },
		"no certificate":             func(t *testing.T, f *folder) { remove(t, f, certFile) },
		"no key":                     func(t *testing.T, f *folder) { remove(t, f, keyFile) },
		"no bundle":                  func(t *testing.T, f *folder) { remove(t, f, rootsFile) },
		"a folder in place of a key": func(t *testing.T, f *folder) {
			remove(t, f, keyFile)
			if err := os.Mkdir(filepath.Join(f.dir, keyFile), 0o700); err != nil {
				t.Fatal(err)
			}
		},
		"a huge file": func(t *testing.T, f *folder) {
			f.put(t, rootsFile, append(f.get(t, rootsFile), make([]byte, maxFile)...))
		},
		"an expired certificate": func(t *testing.T, f *folder) {
			f.ca.opts.LeafLifetime = -10 * time.Second
			f.write(t, "web")
			f.ca.opts.LeafLifetime = time.Hour
		},
		"a name that is no SPIFFE ID": func(t *testing.T, f *folder) {
			cert := forge(t, f.ca, func(c *x509.Certificate) { c.URIs = nil })
			key, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
			if err != nil {
				t.Fatal(err)
			}
			f.put(t, certFile, certPEM(cert.Leaf))
			f.put(t, keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}))
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFolder(t, -1)
			before := f.identity(t)
			spoil(t, f)
			var err error
			for range 3 {
				err = f.files.Reload()
			}
			if err == nil || f.files.Err() == nil {
				t.Fatal("taken")
			}
			if f.identity(t) != before {
				t.Error("the last good identity is gone")
			}
			if lines := f.log.lines(); len(lines) != 1 || !strings.Contains(lines[0], "refused") {
				t.Errorf("logged %q", lines)
			}
			if fresh, fault := NewFiles(FilesOptions{Dir: f.dir, Every: -1}); fault == nil {
				t.Errorf("a new source starts with it, as %v", fresh)
			}
			withoutKey(t, f, err.Error()+strings.Join(f.log.lines(), ""))

			if info, err := os.Stat(filepath.Join(f.dir, keyFile)); err == nil && info.IsDir() {
				remove(t, f, keyFile)
			}
			f.write(t, "web")
			if err := f.files.Reload(); err != nil || f.files.Err() != nil || f.identity(t) == before {
				t.Errorf("good files are not taken: %v", err)
			}
			if lines := f.log.lines(); len(lines) != 2 || !strings.Contains(lines[1], "replaced") {
				t.Errorf("logged %q", lines)
			}
		})
	}
}

func TestFilesThatTurnBack(t *testing.T) {
	f := newFolder(t, -1)
	cert := f.get(t, certFile)
	f.put(t, certFile, nil)
	if f.files.Reload() == nil {
		t.Fatal("an empty certificate is taken")
	}
	f.put(t, certFile, cert)
	if err := f.files.Reload(); err != nil {
		t.Fatal(err)
	}
	if lines := f.log.lines(); len(lines) != 2 || !strings.Contains(lines[1], "good again") {
		t.Errorf("logged %q", lines)
	}
}

func TestFilesWithoutPermission(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root may read everything; TestFilesKeepTheLastGood has a folder in place of a file")
	}
	f := newFolder(t, -1)
	if err := os.Chmod(filepath.Join(f.dir, keyFile), 0); err != nil {
		t.Fatal(err)
	}
	if err := f.files.Reload(); !errors.Is(err, os.ErrPermission) {
		t.Errorf("got %v", err)
	}
	f.identity(t)
}

// A certificate whose time has not come is taken when it has, although the
// files stay as they are.
func TestFilesNotYetValid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFolder(t, time.Minute)
		before := f.identity(t)
		cert := forge(t, f.ca, func(c *x509.Certificate) { c.NotBefore = time.Now().Add(10 * time.Minute) })
		key, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
		if err != nil {
			t.Fatal(err)
		}
		f.put(t, certFile, certPEM(cert.Leaf))
		f.put(t, keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}))
		time.Sleep(5*time.Minute + time.Second)
		if !errors.Is(f.files.Err(), ErrNotYetValid) || f.identity(t) != before || len(f.log.lines()) != 1 {
			t.Errorf("before its time: %v, logged %q", f.files.Err(), f.log.lines())
		}
		time.Sleep(6 * time.Minute)
		if f.files.Err() != nil || f.identity(t) == before {
			t.Errorf("in its time: %v", f.files.Err())
		}
	})
}

func TestFilesPoll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFolder(t, 0)
		before, changed := f.identity(t), f.files.Changed()
		f.write(t, "web")
		begin := time.Now()
		<-changed
		if took := time.Since(begin); took != 10*time.Second {
			t.Errorf("seen after %s, want the default of 10s", took)
		}
		if f.identity(t) == before {
			t.Error("a change was told, but there is none")
		}
		if err := errors.Join(f.files.Close(), f.files.Close()); err != nil {
			t.Error(err)
		}
		last := f.identity(t)
		f.write(t, "web")
		time.Sleep(time.Minute)
		if f.identity(t) != last {
			t.Error("a closed source still reads")
		}
	})
}

// Nobody renews the files: the leaf is served to its last second, and then
// there is an error that says so, and one line in the log.
func TestFilesExpire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFolder(t, 0)
		time.Sleep(time.Until(f.identity(t).NotAfter()))
		f.identity(t)
		time.Sleep(time.Minute)
		if id, err := f.files.Identity(); !errors.Is(err, ErrExpired) || id != nil {
			t.Fatalf("got %v, %v", id, err)
		}
		if lines := f.log.lines(); len(lines) != 1 || !strings.Contains(lines[0], "expired") {
			t.Errorf("logged %q", lines)
		}
		// The reason why nothing newer is in use stands beside it.
		f.put(t, keyFile, nil)
		time.Sleep(time.Minute)
		if _, err := f.files.Identity(); !errors.Is(err, ErrExpired) || !strings.Contains(err.Error(), keyFile) {
			t.Errorf("got %v", err)
		}
		// And who waits is told when it is mended.
		go func() {
			time.Sleep(time.Hour)
			f.write(t, "web")
		}()
		if _, err := Ready(t.Context(), f.files); err != nil {
			t.Error(err)
		}
	})
}

func TestNewFilesRefuses(t *testing.T) {
	_, err := NewFiles(FilesOptions{Key: "x"})
	if err == nil || !strings.Contains(err.Error(), "Cert:") || !strings.Contains(err.Error(), "Roots:") || strings.Contains(err.Error(), "Key:") {
		t.Errorf("got %v", err)
	}
	if _, err := NewFiles(FilesOptions{Dir: t.TempDir()}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

func TestFilesOptionsByName(t *testing.T) {
	ca, dir := newCA(t, ""), t.TempDir()
	if _, err := ca.WriteFiles(dir, "web"); err != nil {
		t.Fatal(err)
	}
	o := FilesOptions{Dir: "/nowhere", Every: -1}
	for file, field := range map[string]*string{certFile: &o.Cert, keyFile: &o.Key, rootsFile: &o.Roots} {
		*field = filepath.Join(dir, "my-"+file)
		if err := os.Rename(filepath.Join(dir, file), *field); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := NewFiles(o); err != nil {
		t.Error(err)
	}
}

func TestReadyWithoutSource(t *testing.T) {
	if _, err := Ready(t.Context(), nil); !errors.Is(err, ErrNoIdentity) {
		t.Errorf("got %v", err)
	}
}

func TestReadyGivesUpWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	gone := errors.New("gone")
	cancel(gone)
	if _, err := Ready(ctx, &held{}); !errors.Is(err, gone) || !errors.Is(err, ErrNoIdentity) {
		t.Errorf("got %v", err)
	}
}

// Writers and readers at once: whoever asks gets a whole identity.
func TestFilesRace(t *testing.T) {
	f := newFolder(t, time.Microsecond)
	stop := make(chan struct{})
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				id, err := f.files.Identity()
				if err != nil || id.ID().Path() != "/ns/default/dc/dc1/svc/web" {
					t.Errorf("got %v, %v", id, err)
					return
				}
				_ = f.files.Err()
			}
		})
	}
	for range 50 {
		f.write(t, "web")
	}
	close(stop)
	readers.Wait()
	if err := f.files.Reload(); err != nil {
		t.Error(err)
	}
}

func FuzzParseCerts(f *testing.F) {
	ca, err := NewDevCA(DevCAOptions{})
	if err != nil {
		f.Fatal(err)
	}
	one := certPEM(ca.cert)
	f.Add(one)
	f.Add(append(append([]byte("# comment\n"), one...), one...))
	f.Add(one[:len(one)/2])
	f.Add([]byte("-----BEGIN"))
	f.Fuzz(func(t *testing.T, bundle []byte) {
		certs, err := ParseCerts(bundle)
		if (err == nil) != (len(certs) > 0) {
			t.Fatalf("%d certificates and error %v", len(certs), err)
		}
		if n := bytes.Count(bundle, []byte("-----BEGIN CERTIFICATE-----")); err == nil && len(certs) > n {
			t.Fatalf("%d certificates out of %d blocks", len(certs), n)
		}
	})
}

func remove(tb testing.TB, f *folder, name string) {
	tb.Helper()
	if err := os.Remove(filepath.Join(f.dir, name)); err != nil {
		tb.Fatal(err)
	}
}

// withoutKey fails if any line of the key file stands in the text.
func withoutKey(tb testing.TB, f *folder, text string) {
	tb.Helper()
	b, err := os.ReadFile(filepath.Join(f.dir, keyFile))
	if err != nil {
		return // the key is what is missing
	}
	for line := range strings.SplitSeq(string(b), "\n") {
		if line = strings.TrimSpace(line); len(line) > 8 && !strings.HasPrefix(line, "-----") && strings.Contains(text, line) {
			tb.Errorf("the key shows up in %q", text)
		}
	}
}
