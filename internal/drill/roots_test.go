package drill

import (
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/innermesh/innermesh/internal/consultest"
	"github.com/innermesh/innermesh/mesh"
)

// Consul gets another CA, and its agent restarts, which then gives new certificates
// at once. Certificates of both are shown while programs change at moments of their
// own, and no call fails. In the long form the agent lives on first and spreads
// them over half a minute, and there is one more CA in the end.
func TestRotationOfRoots(t *testing.T) {
	long(t)
	b := &border{stage: newStage(t, consultest.Start(t, consultest.Options{Persistent: true}))}
	b.play(b.agent.HTTPAddr, func(string) mesh.TLSOptions { return mesh.TLSOptions{Consul: true} })
	issuers := func(want int) {
		b.await(60*time.Second, "certificates of the new CA", func() bool { _, n := b.passports.count(); return n >= want })
	}
	serials, cas := 2, 2
	b.rotate(2048)
	if longForm() {
		issuers(2)
	}
	before, _ := b.passports.count()
	if err := b.agent.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.await(60*time.Second, "a certificate of the restarted agent", func() bool { n, _ := b.passports.count(); return n > before })
	issuers(2)
	if longForm() {
		serials, cas = 4, 3
		b.rotate(4096)
		issuers(3)
	}
	b.goOn(100)
	b.finish(serials, cas)
}

// rotate gives Consul's CA another kind of key, and so a new root. RSA is fast to
// verify, even under the race detector.
func (b *border) rotate(bits int) {
	b.t.Helper()
	b.await(30*time.Second, "a new CA", func() bool {
		config := map[string]any{"PrivateKeyType": "rsa", "PrivateKeyBits": bits, "CSRMaxPerSecond": 0}
		_, err := b.consul.Connect().CASetConfig(&api.CAConfig{Provider: "consul", Config: config}, nil)
		return err == nil
	})
}
