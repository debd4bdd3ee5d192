package mesh

import (
	"errors"
	"time"

	"github.com/innermesh/innermesh/internal/telemetry"
	"github.com/innermesh/innermesh/tlsutil"
)

// TLSStatus is how connections are secured, as it stands.
type TLSStatus struct {
	// Mode is what servers accept.
	Mode TLSMode
	// ID is this program's identity, zero if there is none at the moment.
	ID tlsutil.ID
	// Expires is when its certificate does; zero if there is none.
	Expires time.Time
	// Error says why there is no identity, if there should be one.
	Error error
	// Refused are the peers that were not let in, by role and reason.
	Refused []TLSRefusals
	// Plaintext is how many connections were let in without TLS, in
	// [TLSPermissive].
	Plaintext uint64
}

// TLSRefusals are peers that were refused for one reason.
type TLSRefusals struct {
	// Role is the end that refused: "server" or "client".
	Role string
	// Reason is why.
	Reason tlsutil.Reason
	// Count is how many, since this program has begun.
	Count uint64
}

// TLS tells how connections are secured, and who was refused.
func (m *Mesh) TLS() TLSStatus {
	s := TLSStatus{Mode: m.o.TLS.Mode}
	s.Refused, s.Plaintext = m.security.strangers.count()
	switch {
	case m.identity == nil:
		s.Mode = TLSOff
		return s
	case s.Mode == "":
		s.Mode = TLSStrict
	}
	id, err := m.identity.Identity()
	if err != nil {
		s.Error = err
		return s
	}
	s.ID, s.Expires = id.ID(), id.NotAfter()
	return s
}

// observeTLS tells the same in metrics.
func (m *Mesh) observeTLS(tell telemetry.TLS) {
	s := m.TLS()
	for _, r := range s.Refused {
		tell.Refused(r.Role, string(r.Reason), r.Count)
	}
	if s.Mode == TLSPermissive {
		tell.Plaintext(s.Plaintext)
	}
	switch {
	case !s.Expires.IsZero():
		tell.Expiry(time.Until(s.Expires))
	case errors.Is(s.Error, tlsutil.ErrExpired):
		tell.Expiry(0)
	}
}
