package tlsutil

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Terms are the versions and cipher suites that connections may have. The zero
// value is TLS 1.3.
type Terms struct {
	// MinVersion is the lowest version, TLS 1.2 or 1.3. Default: 1.3, or
	// MaxVersion if that is lower, or 1.2 if CipherSuites are named.
	MinVersion uint16
	// MaxVersion is the highest version, TLS 1.2 or 1.3. Default: 1.3.
	MaxVersion uint16
	// CipherSuites are those for TLS 1.2, among [tls.CipherSuites]; those of TLS
	// 1.3 are all good and can not be chosen. Default: Go's own choice.
	CipherSuites []uint16
}

// Validate reports all faults with the names of their fields.
func (t Terms) Validate() error {
	var faults []error
	version := func(field string, v uint16) {
		if v != 0 && v != tls.VersionTLS12 && v != tls.VersionTLS13 {
			faults = append(faults, fmt.Errorf("%s: %s: want TLS 1.2 or 1.3", field, tls.VersionName(v)))
		}
	}
	version("MinVersion", t.MinVersion)
	version("MaxVersion", t.MaxVersion)
	if t.MinVersion != 0 && t.MaxVersion != 0 && t.MinVersion > t.MaxVersion {
		faults = append(faults, fmt.Errorf("MinVersion: %s: is above MaxVersion, %s",
			tls.VersionName(t.MinVersion), tls.VersionName(t.MaxVersion)))
	}
	for i, suite := range t.CipherSuites {
		if !slices.ContainsFunc(tls.CipherSuites(), func(s *tls.CipherSuite) bool {
			return s.ID == suite && slices.Contains(s.SupportedVersions, tls.VersionTLS12)
		}) {
			faults = append(faults, fmt.Errorf("CipherSuites[%d]: %s: is none of Go's good ones for TLS 1.2", i, tls.CipherSuiteName(suite)))
		}
	}
	return errors.Join(faults...)
}

// Equal says whether both are the same.
func (t Terms) Equal(u Terms) bool {
	return t.MinVersion == u.MinVersion && t.MaxVersion == u.MaxVersion && slices.Equal(t.CipherSuites, u.CipherSuites)
}

// String says it in words.
func (t Terms) String() string {
	var cfg tls.Config
	t.apply(&cfg)
	s := tls.VersionName(cfg.MinVersion)
	if highest := cmp.Or(cfg.MaxVersion, tls.VersionTLS13); highest != cfg.MinVersion {
		s += " to " + tls.VersionName(highest)
	}
	if len(cfg.CipherSuites) > 0 {
		names := make([]string, len(cfg.CipherSuites))
		for i, suite := range cfg.CipherSuites {
			names[i] = tls.CipherSuiteName(suite)
		}
		s += " with " + strings.Join(names, ", ")
	}
	return s
}

func (t Terms) apply(cfg *tls.Config) {
	cfg.MinVersion = t.MinVersion
	if t.MinVersion == 0 {
		cfg.MinVersion = cmp.Or(t.MaxVersion, tls.VersionTLS13)
		if len(t.CipherSuites) > 0 { // with 1.3 alone they would mean nothing
			cfg.MinVersion = tls.VersionTLS12
		}
	}
	cfg.MaxVersion = t.MaxVersion
	cfg.CipherSuites = slices.Clone(t.CipherSuites)
}
