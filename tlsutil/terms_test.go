package tlsutil

import (
	"crypto/tls"
	"strings"
	"testing"
)

func TestTerms(t *testing.T) {
	const suite = tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256
	ca := newCA(t, "")
	src := source(t, ca, "web")
	for _, test := range []struct {
		client, server Terms
		want           uint16 // 0: they do not agree
		says           string // of the server's
	}{
		{Terms{}, Terms{}, tls.VersionTLS13, "TLS 1.3"},
		{Terms{MinVersion: tls.VersionTLS12}, Terms{}, tls.VersionTLS13, "TLS 1.3"},
		{Terms{MaxVersion: tls.VersionTLS12}, Terms{}, 0, "TLS 1.3"},
		{Terms{MaxVersion: tls.VersionTLS12}, Terms{MinVersion: tls.VersionTLS12}, tls.VersionTLS12, "TLS 1.2 to TLS 1.3"},
		{Terms{MinVersion: tls.VersionTLS12}, Terms{MaxVersion: tls.VersionTLS12}, tls.VersionTLS12, "TLS 1.2"},
		{
			Terms{MaxVersion: tls.VersionTLS12}, Terms{CipherSuites: []uint16{suite}}, tls.VersionTLS12,
			"TLS 1.2 to TLS 1.3 with TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
		},
	} {
		r := shake(
			ClientConfig(src, AuthorizeAny(), Options{Terms: test.client}),
			ServerConfig(src, AuthorizeAny(), Options{Terms: test.server}),
		)
		if test.want != 0 {
			r.ok(t)
			if r.client.Version != test.want {
				t.Errorf("%s with %s: %s", test.client, test.server, tls.VersionName(r.client.Version))
			}
		} else if r.serverErr == nil {
			t.Errorf("%s with %s: accepted", test.client, test.server)
		}
		if len(test.server.CipherSuites) > 0 && r.client.CipherSuite != suite {
			t.Errorf("got %s", tls.CipherSuiteName(r.client.CipherSuite))
		}
		if s := test.server.String(); s != test.says {
			t.Errorf("%q, want %q", s, test.says)
		}
	}
}

func TestTermsValidate(t *testing.T) {
	err := Options{Terms: Terms{
		MinVersion: tls.VersionTLS13, MaxVersion: tls.VersionTLS11,
		CipherSuites: []uint16{
			tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_RSA_WITH_AES_128_GCM_SHA256, tls.TLS_AES_128_GCM_SHA256,
		},
	}}.Validate()
	for _, want := range []string{"Terms.", "MaxVersion: TLS 1.1", "MinVersion: TLS 1.3: is above", "CipherSuites[1]", "CipherSuites[2]"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: lacks %q", err, want)
		}
	}
	if err != nil && strings.Contains(err.Error(), "CipherSuites[0]") {
		t.Errorf("a good suite is refused: %v", err)
	}
	for _, good := range []Terms{{}, {MinVersion: tls.VersionTLS12, MaxVersion: tls.VersionTLS13}} {
		if err := good.Validate(); err != nil {
			t.Error(err)
		}
	}
}
