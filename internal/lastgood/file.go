package lastgood

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
)

const (
	ending    = ".lastgood"
	temporary = ".tmp"
	// forgotten is how old a temporary file must be to be nobody's any more.
	forgotten = time.Hour
)

// fileName is the same for the same names only: the hash makes it so, the rest
// is for people. It is a plain name whatever the names are, and no longer than
// file systems allow.
func fileName(service, kind, key string) string {
	hash := sha256.New()
	var parts []string
	for _, name := range []string{service, kind, key} {
		fmt.Fprintf(hash, "%d:%s", len(name), name)
		parts = append(parts, readable(name))
	}
	return strings.Join(parts, ".") + "." + hex.EncodeToString(hash.Sum(nil)[:16]) + ending
}

// readable is as much of a name as is good in a file's.
func readable(name string) string {
	const most = 40
	plain := func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' {
			return r
		}
		return '_'
	}
	return strings.Map(plain, name[:min(len(name), most)])
}

// replace puts a file in place as a whole: who reads finds the old one or the
// new one, whenever the process or the machine ends.
func replace(path string, content []byte) (err error) {
	temp := path + "." + rand.Text() + temporary
	file, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(temp) // what counts is why it is not needed
		}
	}()
	_, err = file.Write(content)
	if err == nil {
		err = file.Sync() // before the rename, or a name could point to nothing
	}
	if err := errors.Join(err, file.Close()); err != nil {
		return err
	}
	if err := os.Rename(temp, path); err != nil {
		return err
	}
	// Not all systems can sync a folder. Without it the old file may come back
	// after a power failure, which is whole too.
	if dir, err := os.Open(filepath.Dir(path)); err == nil {
		_ = dir.Sync()
		_ = dir.Close()
	}
	return nil
}

// readFile reads a file that may be anything.
func readFile(path string) ([]byte, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular(): // opening a pipe would wait for its writer
		return nil, errors.New("it is not a regular file")
	case info.Size() > int64(maxFile):
		return nil, fmt.Errorf("%w: %d bytes, %d are allowed", errTooLarge, info.Size(), maxFile)
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return io.ReadAll(io.LimitReader(file, int64(maxFile)+1))
}

// sweep removes what processes that were killed while writing have left. It does
// what it can: a file too many harms nobody.
func sweep(dir string) {
	files, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	for _, f := range files {
		if !strings.Contains(f.Name(), ending+".") || !strings.HasSuffix(f.Name(), temporary) {
			continue
		}
		if info, err := f.Info(); err == nil && time.Since(info.ModTime()) > forgotten {
			_ = os.Remove(filepath.Join(dir, f.Name()))
		}
	}
}
