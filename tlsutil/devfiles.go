package tlsutil

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// WriteFiles writes a fresh identity of that service into a folder, which it
// makes if needed, as tls.crt, tls.key (readable by the owner alone) and ca.crt,
// and returns the options that read it: for children that are processes of
// their own.
//
// Each file is replaced at once, the three one after the other; [Files] takes
// them when they fit together. Nothing renews them: call it again before
// LeafLifetime is over.
func (ca *DevCA) WriteFiles(dir, service string) (FilesOptions, error) {
	fail := func(err error) (FilesOptions, error) {
		return FilesOptions{}, fmt.Errorf("development CA: write identity of %q: %w", service, err)
	}
	id, err := ca.ID(service)
	if err != nil {
		return fail(err)
	}
	cert, err := ca.issue(ca.leaf(id, time.Now()))
	if err != nil {
		return fail(err)
	}
	key, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	if err != nil {
		return fail(err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fail(err)
	}
	err = errors.Join(
		writePEM(filepath.Join(dir, rootsFile), "CERTIFICATE", ca.cert.Raw, 0o644),
		writePEM(filepath.Join(dir, keyFile), "PRIVATE KEY", key, 0o600),
		writePEM(filepath.Join(dir, certFile), "CERTIFICATE", cert.Leaf.Raw, 0o644),
	)
	if err != nil {
		return fail(err)
	}
	return FilesOptions{Dir: dir}, nil
}

// writePEM replaces a file by rename: a reader finds the old or the new one.
func writePEM(path, kind string, der []byte, mode os.FileMode) (err error) {
	file, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(file.Name()))
		}
	}()
	err = errors.Join(
		pem.Encode(file, &pem.Block{Type: kind, Bytes: der}),
		file.Chmod(mode),
		file.Close(),
	)
	if err != nil {
		return err
	}
	return os.Rename(file.Name(), path)
}
