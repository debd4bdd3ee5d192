package mesh

import (
	"cmp"
	"crypto/x509"
	"encoding/hex"

	"github.com/innermesh/innermesh/internal/admin"
)

// adminSecurity tells of the identity what everybody may know: never a key.
func (m *Mesh) adminSecurity() admin.Security {
	s := admin.Security{Secured: m.identity != nil, Roots: []admin.Root{}}
	if !s.Secured {
		return s
	}
	if source, ok := m.identity.(interface{ Err() error }); ok {
		if err := source.Err(); err != nil {
			s.Problem = err.Error()
		}
	}
	id, err := m.identity.Identity()
	if err != nil {
		s.Problem = err.Error()
		return s
	}
	leaf := id.Certificate().Leaf
	s.Leaf = &admin.Certificate{
		ID: id.ID().String(), Serial: serial(leaf), Issuer: leaf.Issuer.String(), From: leaf.NotBefore, Until: leaf.NotAfter,
	}
	for _, domain := range id.Roots().Domains() {
		for _, root := range id.Roots().Certificates(domain) {
			s.Roots = append(s.Roots, admin.Root{Name: cmp.Or(root.Subject.CommonName, domain), Serial: serial(root), Until: root.NotAfter})
		}
	}
	return s
}

func serial(c *x509.Certificate) string { return hex.EncodeToString(c.SerialNumber.Bytes()) }
