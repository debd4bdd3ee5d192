package caller

import (
	"github.com/innermesh/innermesh/tlsutil"
)

// Caller is who calls, as far as it is proven. The zero Caller is somebody
// unknown.
type Caller struct {
	// ServiceID is the service that calls: its name, namespace, partition,
	// datacenter and trust domain. It is zero if the caller is no service, as an
	// agent or a gateway is none.
	tlsutil.ServiceID
	// ID is the caller's SPIFFE ID.
	ID tlsutil.ID
	// Via is the peer that vouches for the caller, and whose certificate the
	// connection has shown, if that is not the caller's own.
	Via tlsutil.ID
}

// IsZero says that the caller is not known.
func (c Caller) IsZero() bool { return c.ID.IsZero() }

// String returns the SPIFFE ID.
func (c Caller) String() string { return c.ID.String() }

func of(id tlsutil.ID) Caller {
	service, err := id.Service()
	if err != nil {
		service = tlsutil.ServiceID{} // of another kind
	}
	return Caller{ServiceID: service, ID: id}
}
