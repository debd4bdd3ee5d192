// Package jwt says whether the JSON web tokens of a request are good: signed by
// a key of the provider that a rule names, of its issuer, for its audiences, and
// valid now. Providers are Consul's config entries of kind jwt-provider.
//
// The room in reading order: a [Provider] is what an entry says, [Decode] reads
// Consul's answers. [Providers] holds those in force, fetches the keys of remote
// ones, and makes the [Tokens] of a request, which rules ask
// ([intention.Tokens]) and which afterwards change the request as the provider
// wants it.
//
// Only asymmetric signatures are taken: RSA, RSA-PSS, ECDSA and Ed25519. Keys
// that two share prove nothing, and "none" even less; a key set's symmetric keys
// are left out, so that no public key can ever be taken for a secret.
//
// Errors never hold a token or a part of one.
package jwt
