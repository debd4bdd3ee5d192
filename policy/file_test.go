package policy

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// following is a file that is watched within a test's bubble.
type following struct {
	path string

	mu   sync.Mutex
	told []string // the attempts for stock, or the error
	last time.Time
}

func follow(t *testing.T, content string) *following {
	t.Helper()
	f := &following{path: filepath.Join(t.TempDir(), "policy.yaml")}
	if content != "" {
		f.write(t, content)
	}
	source, err := NewFile(FileOptions{Path: f.path})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- source.Watch(ctx, func(d Documents, err error) {
			told := strings.Repeat("I", d.Services["stock"].Retry.Attempts)
			if err != nil {
				told = err.Error()
			}
			f.mu.Lock()
			defer f.mu.Unlock()
			f.told, f.last = append(f.told, told), time.Now()
		})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("ended with %v", err)
		}
	})
	synctest.Wait()
	return f
}

func (f *following) write(t *testing.T, content string) {
	t.Helper()
	if err := os.WriteFile(f.path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// want compares what has been told since it was last asked, and returns when the
// last was.
func (f *following) want(t *testing.T, told ...string) (last time.Time) {
	t.Helper()
	synctest.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.told) != len(told) {
		t.Fatalf("told %q, want %q", f.told, told)
	}
	for i, part := range told {
		if !strings.Contains(f.told[i], part) {
			t.Errorf("told %q, want %q", f.told[i], part)
		}
	}
	f.told = nil
	return f.last
}

const (
	twoAttempts   = "services: {stock: {retry: {attempts: 2}}}\n"
	threeAttempts = "services: {stock: {retry: {attempts: 3}}}\n"
)

func TestFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := follow(t, twoAttempts)
		f.want(t, "II")
		time.Sleep(time.Hour)
		f.want(t)

		begin := time.Now()
		f.write(t, threeAttempts)
		time.Sleep(time.Second)
		if took := f.want(t, "III").Sub(begin); took > 700*time.Millisecond {
			t.Errorf("in force after %s", took)
		}
		f.write(t, threeAttempts)
		time.Sleep(time.Minute)
		f.want(t)
	})
}

// A refused change is told once, with all that is wrong and where; the end of
// it too.
func TestFileRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := follow(t, twoAttempts)
		f.want(t, "II")
		f.write(t, "services:\n  stock: {retry: {attempts: 900}}\n")
		time.Sleep(time.Hour)
		f.want(t, f.path+": 2:29 services.stock.retry.attempts: 900 is out of range")
		f.write(t, "services:\n  stock: {retry: {attempts: 901}}\n")
		time.Sleep(time.Minute)
		f.want(t, "901")
		f.write(t, twoAttempts)
		time.Sleep(time.Minute)
		f.want(t, "II")
		f.write(t, "")
		time.Sleep(time.Minute)
		f.want(t, "document is empty")
	})
}

func TestFileThatIsNotThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := follow(t, "")
		f.want(t, "read policy file: ")
		time.Sleep(time.Hour)
		f.want(t)
		f.write(t, twoAttempts)
		time.Sleep(time.Second)
		f.want(t, "II")
		if err := os.Remove(f.path); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		f.want(t, fs.ErrNotExist.Error()[:4])
		if err := os.Mkdir(f.path, 0o700); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		f.want(t, "not a regular file")
	})
}

func TestFileTooLarge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := follow(t, strings.Repeat("#", maxBytes)+"\n")
		f.want(t, "has 524289 bytes")
	})
}

// Who writes slowly and in place is not taken at half.
func TestFileHalfWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := follow(t, twoAttempts)
		f.want(t, "II")
		content := ""
		for line := range strings.Lines("# new\nservices:\n  stock:\n    retry:\n      attempts: 3\n") {
			content += line
			f.write(t, content)
			time.Sleep(90 * time.Millisecond)
		}
		time.Sleep(time.Second)
		f.want(t, "III")
	})
}

// Kubernetes swaps a symlink to a folder; the path stays.
func TestFileSymlinkSwap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := follow(t, twoAttempts)
		f.want(t, "II")
		next := f.path + ".next"
		err := errors.Join(os.WriteFile(f.path+".v2", []byte(threeAttempts), 0o600), os.Symlink(f.path+".v2", next), os.Rename(next, f.path))
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		f.want(t, "III")
	})
}

func TestNewFileRefuses(t *testing.T) {
	_, err := NewFile(FileOptions{Every: -1})
	if err == nil || !strings.Contains(err.Error(), "Path:") || !strings.Contains(err.Error(), "Every:") {
		t.Errorf("got %v", err)
	}
}
