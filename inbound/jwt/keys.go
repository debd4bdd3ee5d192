package jwt

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/go-jose/go-jose/v4"
)

// maxKeys bounds what a token without a key's name is tried with.
const maxKeys = 100

// algorithms are those that are taken.
var algorithms = []jose.SignatureAlgorithm{
	jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512,
	jose.ES256, jose.ES384, jose.ES512, jose.EdDSA,
}

// keys are public keys for signatures.
type keys []jose.JSONWebKey

// parseKeys reads a key set (RFC 7517, section 5). Keys of kinds that are not
// known, symmetric ones and those for encryption are left out, as the RFC has
// it; a set without any other is an error.
func parseKeys(document []byte) (keys, error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(document, &set); err != nil {
		return nil, errors.New("the key set is not JSON") // it may quote a key
	}
	if len(set.Keys) > maxKeys {
		return nil, fmt.Errorf("the key set has %d keys, %d are allowed", len(set.Keys), maxKeys)
	}
	var good keys
	for _, raw := range set.Keys {
		var k jose.JSONWebKey
		if k.UnmarshalJSON(raw) != nil || k.Use != "" && k.Use != "sig" {
			continue
		}
		if k = k.Public(); k.Key != nil && k.Valid() && k.IsPublic() { // a symmetric one has no public part
			good = append(good, k)
		}
	}
	if len(good) == 0 {
		return nil, errors.New("the key set has no public key for signatures")
	}
	return good, nil
}

// onlyPublic says whether a key set has none but public keys.
func onlyPublic(document []byte) bool {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if json.Unmarshal(document, &set) != nil {
		return false
	}
	for _, raw := range set.Keys {
		var k jose.JSONWebKey
		if k.UnmarshalJSON(raw) != nil || !k.IsPublic() {
			return false
		}
	}
	return true
}

// named are those that may have signed: the ones of that name, and of that
// algorithm where the key says one.
func (k keys) named(id, algorithm string) (fit keys) {
	for _, one := range k {
		if (id == "" || one.KeyID == "" || one.KeyID == id) && (one.Algorithm == "" || one.Algorithm == algorithm) {
			fit = append(fit, one)
		}
	}
	return fit
}
