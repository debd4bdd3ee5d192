package tlsutil

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

// maxFile bounds what is read of one file: a bundle of hundreds of CAs fits.
const maxFile = 1 << 20

// parse makes an identity of three files, if they belong together and are good
// now.
func (f *Files) parse(cert, key, roots []byte, now time.Time) (*Identity, error) {
	pair, err := tls.X509KeyPair(cert, key) // its errors name no part of the key
	if err != nil {
		return nil, fmt.Errorf("certificate %s with key %s: %w", f.opts.Cert, f.opts.Key, err)
	}
	leaf, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		return nil, fmt.Errorf("certificate %s: %w", f.opts.Cert, err)
	}
	owner, err := leafID(leaf)
	if err != nil {
		return nil, fmt.Errorf("certificate %s: %w", f.opts.Cert, err)
	}
	cas, err := ParseCerts(roots)
	if err != nil {
		return nil, fmt.Errorf("roots %s: %w", f.opts.Roots, err)
	}
	trusted, err := NewRoots(map[string][]*x509.Certificate{owner.TrustDomain(): cas})
	if err != nil {
		return nil, fmt.Errorf("roots %s: %w", f.opts.Roots, err)
	}
	id, err := NewIdentity(pair, trusted)
	if err != nil {
		return nil, fmt.Errorf("certificate %s: %w", f.opts.Cert, err)
	}
	if err := id.Valid(now); err != nil {
		return nil, fmt.Errorf("certificate %s: %w", f.opts.Cert, err)
	}
	if err := id.Check(now); err != nil {
		return nil, fmt.Errorf("certificate %s under roots %s: %w", f.opts.Cert, f.opts.Roots, err)
	}
	return id, nil
}

func readFile(what, path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", what, err)
	}
	defer file.Close()
	b, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", what, err)
	}
	if len(b) > maxFile {
		return nil, fmt.Errorf("read %s: %s is larger than %d bytes", what, path, maxFile)
	}
	return b, nil
}

// ParseCerts reads PEM certificates, at least one. Text between blocks is skipped, as bundles
// often carry comments; a block of another kind or half a block is an error.
func ParseCerts(bundle []byte) ([]*x509.Certificate, error) {
	var certs []*x509.Certificate
	for {
		block, rest := pem.Decode(bundle)
		if block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("block %d is a %q, want CERTIFICATE", len(certs)+1, block.Type)
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certificate %d: %w", len(certs)+1, err)
		}
		certs, bundle = append(certs, cert), rest
	}
	if bytes.Contains(bundle, []byte("-----BEGIN")) {
		return nil, fmt.Errorf("the block after certificate %d is broken off or malformed", len(certs))
	}
	if len(certs) == 0 {
		return nil, errors.New("no PEM certificate found")
	}
	return certs, nil
}
