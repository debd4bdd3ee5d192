package consulca

import (
	"crypto/tls"
	"strings"
	"testing"

	"github.com/innermesh/innermesh/tlsutil"
)

func TestDecodeTerms(t *testing.T) {
	const suite = tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384
	for _, test := range []struct {
		in       string // of TLS.Incoming
		want     tlsutil.Terms
		mistakes []string
	}{
		{`null`, tlsutil.Terms{}, nil},
		{`{"TLSMinVersion": "TLS_AUTO", "TLSMaxVersion": ""}`, tlsutil.Terms{}, nil},
		{`{"TLSMinVersion": "TLSv1_2"}`, tlsutil.Terms{MinVersion: tls.VersionTLS12}, nil},
		{`{"TLSMinVersion": "TLSv1_0", "TLSMaxVersion": "TLSv1_3"}`, tlsutil.Terms{MinVersion: tls.VersionTLS12, MaxVersion: tls.VersionTLS13}, nil},
		{
			`{"TLSMinVersion": "TLSv1_2", "CipherSuites": ["TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"]}`,
			tlsutil.Terms{MinVersion: tls.VersionTLS12, CipherSuites: []uint16{suite}}, nil,
		},
		{`{"TLSMaxVersion": "TLSv1_1"}`, tlsutil.Terms{}, []string{"TLS.Incoming.TLSMaxVersion: TLSv1_1"}},
		{`{"TLSMinVersion": "TLSv1_3", "TLSMaxVersion": "TLSv1_2"}`, tlsutil.Terms{}, []string{"TLS.Incoming: MinVersion"}},
		{
			`{"TLSMinVersion": "SSLv3", "CipherSuites": ["TLS_RSA_WITH_RC4_128_SHA", "x"]}`,
			tlsutil.Terms{}, []string{"TLS.Incoming.TLSMinVersion: \"SSLv3\"", "CipherSuites[0]", "CipherSuites[1]"},
		},
		{`7`, tlsutil.Terms{}, []string{"mesh config entry"}},
	} {
		got, err := decodeTerms([]byte(`{"Kind": "mesh", "TLS": {"Incoming": ` + test.in + `}}`))
		for _, m := range test.mistakes {
			if err == nil || !strings.Contains(err.Error(), m) {
				t.Errorf("%s: got %v, want %q", test.in, err, m)
			}
		}
		if len(test.mistakes) == 0 && (err != nil || !got.incoming.Equal(test.want) || !got.outgoing.Equal(tlsutil.Terms{})) {
			t.Errorf("%s: got %+v, %v", test.in, got, err)
		}
	}
}

func FuzzDecodeTerms(f *testing.F) {
	f.Add([]byte(`{"TLS": {"Outgoing": {"TLSMinVersion": "TLSv1_2", "CipherSuites": ["TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"]}}}`))
	f.Add([]byte(`{"TLS": null}`))
	f.Add([]byte(`{"tls": {"incoming": {"TLSMaxVersion": 3}}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		got, err := decodeTerms(body)
		if err != nil {
			return
		}
		for _, terms := range []tlsutil.Terms{got.incoming, got.outgoing} {
			if err := terms.Validate(); err != nil {
				t.Errorf("%s: %v", body, err)
			}
		}
	})
}
