package consulca_test

import (
	"crypto/tls"
	"log/slog"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/innermesh/innermesh/internal/consul"
	"github.com/innermesh/innermesh/internal/consultest"
	"github.com/innermesh/innermesh/tlsutil"
	"github.com/innermesh/innermesh/tlsutil/consulca"
)

// What an operator writes is in force a moment later, and no more when it is gone.
func TestTermsFollowConsul(t *testing.T) {
	agent := consultest.Start(t, consultest.Options{}) // a mesh has one such entry
	log := slog.New(slog.DiscardHandler)
	client, err := consul.New(consul.Options{Address: agent.HTTPAddr, Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	terms, err := consulca.NewTerms(client, log)
	if err != nil {
		t.Fatal(err)
	}
	writer, err := agent.Client()
	if err != nil {
		t.Fatal(err)
	}
	entries := writer.ConfigEntries()
	set := func(in, out api.MeshDirectionalTLSConfig) {
		entry := &api.MeshConfigEntry{TLS: &api.MeshTLSConfig{Incoming: &in, Outgoing: &out}}
		if _, _, err := entries.Set(entry, nil); err != nil {
			t.Fatal(err)
		}
	}
	until := func(in, out tlsutil.Terms) {
		t.Helper()
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for !terms.Incoming().Equal(in) || !terms.Outgoing().Equal(out) {
			select {
			case <-tick.C:
			case <-t.Context().Done():
				t.Fatalf("incoming %s, outgoing %s", terms.Incoming(), terms.Outgoing())
			}
		}
	}
	v12 := tlsutil.Terms{MinVersion: tls.VersionTLS12}
	set(api.MeshDirectionalTLSConfig{TLSMinVersion: "TLSv1_2"}, api.MeshDirectionalTLSConfig{TLSMaxVersion: "TLSv1_2"})
	until(v12, tlsutil.Terms{MaxVersion: tls.VersionTLS12})
	// This one can not be obeyed: nothing changes until the next.
	set(api.MeshDirectionalTLSConfig{TLSMaxVersion: "TLSv1_0"}, api.MeshDirectionalTLSConfig{})
	set(api.MeshDirectionalTLSConfig{TLSMinVersion: "TLSv1_2"}, api.MeshDirectionalTLSConfig{
		TLSMinVersion: "TLSv1_2", CipherSuites: []string{"TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"},
	})
	until(v12, tlsutil.Terms{MinVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256}})
	if _, err := entries.Delete(api.MeshConfig, api.MeshConfigMesh, nil); err != nil {
		t.Fatal(err)
	}
	until(tlsutil.Terms{}, tlsutil.Terms{})
	if err := terms.Close(); err != nil {
		t.Error(err)
	}
}
