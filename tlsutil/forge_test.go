package tlsutil

import (
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"testing"
	"time"
)

func uriExtension(raw string) pkix.Extension {
	value, err := asn1.Marshal([]asn1.RawValue{{Class: asn1.ClassContextSpecific, Tag: 6, Bytes: []byte(raw)}})
	if err != nil {
		panic(err)
	}
	return pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Critical: true, Value: value}
}

// selfSigned claims to be "web" and vouches for itself.
func selfSigned(tb testing.TB, ca *DevCA) tls.Certificate {
	tb.Helper()
	template := ca.leaf(serviceID(tb, ca, "web"), time.Now())
	key := newCA(tb, "").key
	leaf, err := sign(template, template, &key.PublicKey, key)
	if err != nil {
		tb.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: key, Leaf: leaf}
}

// signedByLeaf is what a service could make with its own key.
func signedByLeaf(tb testing.TB, ca *DevCA) tls.Certificate {
	tb.Helper()
	parent := forge(tb, ca, func(*x509.Certificate) {})
	rogue := *ca
	rogue.cert, rogue.key = parent.Leaf, parent.PrivateKey.(*ecdsa.PrivateKey)
	return with(forge(tb, &rogue, func(*x509.Certificate) {}), parent.Leaf)
}

// selfSignedCA is a root like ca that allows CAs below it.
func selfSignedCA(tb testing.TB, ca *DevCA) *DevCA {
	tb.Helper()
	template := *ca.cert
	template.MaxPathLen, template.MaxPathLenZero = -1, false
	cert, err := sign(&template, &template, &ca.key.PublicKey, ca.key)
	if err != nil {
		tb.Fatal(err)
	}
	top := *ca
	top.cert = cert
	return &top
}
