package jwt

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// issuer makes tokens.
type issuer struct {
	key       crypto.Signer
	algorithm jose.SignatureAlgorithm
	id        string
}

func newIssuer(t testing.TB, a jose.SignatureAlgorithm, id string) *issuer {
	t.Helper()
	var key crypto.Signer
	var err error
	switch a {
	case jose.RS256, jose.PS384:
		key, err = rsa.GenerateKey(rand.Reader, 2048)
	case jose.EdDSA:
		_, key, err = ed25519.GenerateKey(rand.Reader)
	default:
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	}
	if err != nil {
		t.Fatal(err)
	}
	return &issuer{key, a, id}
}

// public is the issuer's key set.
func public(t testing.TB, all ...*issuer) []byte {
	t.Helper()
	var set jose.JSONWebKeySet
	for _, i := range all {
		set.Keys = append(set.Keys, jose.JSONWebKey{Key: i.key.Public(), KeyID: i.id, Algorithm: string(i.algorithm), Use: "sig"})
	}
	document, err := json.Marshal(set)
	if err != nil {
		t.Fatal(err)
	}
	return document
}

// token signs claims, with the usual ones unless they say otherwise.
func (i *issuer) token(t testing.TB, claims map[string]any) string {
	t.Helper()
	all := map[string]any{"iss": "https://idp", "aud": "web", "exp": time.Now().Add(time.Hour).Unix(), "sub": "alice"}
	for name, v := range claims {
		if all[name] = v; v == nil {
			delete(all, name)
		}
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: i.algorithm, Key: jose.JSONWebKey{Key: i.key, KeyID: i.id}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	text, err := jwt.Signed(signer).Claims(all).Serialize()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func entry(keys []byte) Provider {
	return Provider{
		Name: "idp", Issuer: "https://idp", Audiences: []string{"other", "web"},
		JSONWebKeySet: &KeySet{Local: &Local{JWKS: base64.StdEncoding.EncodeToString(keys)}},
	}
}

func certificate(s *httptest.Server) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}))
}
