package consulsign_test

import (
	"crypto/tls"
	"strings"
	"testing"

	"github.com/innermesh/innermesh/tlsutil/consulsign"
)

func TestOptions(t *testing.T) {
	for name, test := range map[string]struct {
		o    consulsign.Options
		says []string // none: they are good
	}{
		"nothing":            {consulsign.Options{}, []string{"Service:", "Servers:"}},
		"loopback":           {consulsign.Options{Service: "web", Servers: []string{"127.0.0.1:8502", "[::1]:8502", "localhost:8502"}}, nil},
		"plain text afar":    {consulsign.Options{Service: "web", Servers: []string{"10.0.0.1:8502"}}, []string{"Servers[0]", "PlainText"}},
		"allowed plain text": {consulsign.Options{Service: "web", Servers: []string{"10.0.0.1:8502"}, PlainText: true}, nil},
		"TLS afar":           {consulsign.Options{Service: "web", Servers: []string{"consul.internal:8503"}, TLS: &tls.Config{}}, nil},
		"no port":            {consulsign.Options{Service: "web", Servers: []string{"127.0.0.1"}}, []string{"Servers[0]", "host:port"}},
		"bad names":          {consulsign.Options{Service: "a/b", Datacenter: "c d", Servers: []string{"127.0.0.1:1"}}, []string{"Service", "Datacenter"}},
	} {
		t.Run(name, func(t *testing.T) {
			err := test.o.Validate()
			if (err == nil) != (len(test.says) == 0) {
				t.Fatalf("got %v", err)
			}
			for _, says := range test.says {
				if !strings.Contains(err.Error(), says) {
					t.Errorf("%q does not say %q", err, says)
				}
			}
			if err != nil {
				if _, err := consulsign.New(test.o); err == nil {
					t.Error("New takes them")
				}
			}
		})
	}
}
