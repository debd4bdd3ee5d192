package saga

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
)

// Type is what a definition is known by: sagas are carried out only by a program
// that has the same.
type Type struct {
	Name    string `json:"name"`
	Version int    `json:"version"`
	// Fingerprint is a digest of the names of the steps, their order and groups,
	// which of them are undone, the pivot and the revisions.
	Fingerprint string `json:"fingerprint"`
}

// String returns the type as logs show it.
func (t Type) String() string { return fmt.Sprintf("%s@%d#%s", t.Name, t.Version, t.Fingerprint) }

// differs says why sagas of type t can not be carried out with the types given,
// nil if they can.
func (t Type) differs(known map[Type]*plan) error {
	if known[t] != nil {
		return nil
	}
	var versions []int
	for k := range known {
		if k.Name == t.Name && k.Version == t.Version {
			return fmt.Errorf("%w: %s version %d had the fingerprint %s when it started, and has %s in this program: "+
				"raise Version, and register the former definition until its sagas have ended",
				ErrChanged, t.Name, t.Version, t.Fingerprint, k.Fingerprint)
		}
		if k.Name == t.Name {
			versions = append(versions, k.Version)
		}
	}
	if versions != nil {
		return fmt.Errorf("%w: this program has no version %d of %s: register it until its sagas have ended", ErrUnknown, t.Version, t.Name)
	}
	return fmt.Errorf("%w: this program has no definition named %s: register it until its sagas have ended", ErrUnknown, t.Name)
}

// fingerprint digests what must not change under a saga.
func (p *plan) fingerprint() string {
	var text []byte
	for i, group := range p.groups {
		for _, s := range group {
			text = fmt.Appendf(text, "%d %q %q %t %t\n", i, s.name, s.revision, s.undo != nil, s.index == p.pivot)
		}
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:8])
}
