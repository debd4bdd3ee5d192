package mesh

import (
	"cmp"
	"log/slog"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/innermesh/innermesh/tlsutil"
)

// The ends that may refuse a peer.
const (
	roleClient = "client"
	roleServer = "server"
)

const (
	// strangersQuiet is how long a reason is not logged again.
	strangersQuiet = time.Minute
	// strangersNamed bounds the addresses that are remembered as plain ones.
	strangersNamed = 1024
)

// strangers counts whom this program did not let in, and whom it let in without
// TLS. A reason is logged when it comes up, then once a minute at most, with how
// often it did; an address in plain text is logged once.
type strangers struct {
	log *slog.Logger

	mu        sync.Mutex
	counts    map[refusalKind]*refusalCount
	plaintext uint64
	named     map[string]struct{}
}

type refusalKind struct {
	role   string
	reason tlsutil.Reason
}

type refusalCount struct {
	n, told uint64 // in all, and when it was logged last
	at      time.Time
}

func newStrangers(log *slog.Logger) *strangers {
	return &strangers{log: log, counts: map[refusalKind]*refusalCount{}, named: map[string]struct{}{}}
}

// Refused implements the observer of a listener.
func (s *strangers) Refused(reason tlsutil.Reason, from net.Addr, err error) {
	s.refused(roleServer, reason, from.String(), err)
}

// Plaintext implements the observer of a listener.
func (s *strangers) Plaintext(from net.Addr) {
	host, _, err := net.SplitHostPort(from.String())
	if err != nil { // no TCP, then
		host = from.String()
	}
	s.mu.Lock()
	s.plaintext++
	before := len(s.named)
	if before < strangersNamed {
		s.named[host] = struct{}{}
	}
	after := len(s.named)
	s.mu.Unlock()
	if after == before {
		return
	}
	s.log.Warn("a client comes in plain text: it is let in while the mode is permissive", "from", host)
	if after == strangersNamed {
		s.log.Warn("too many clients come in plain text to name more of them", "named", strangersNamed)
	}
}

// refused counts a peer, and logs it unless that reason was logged lately.
func (s *strangers) refused(role string, reason tlsutil.Reason, peer string, err error) {
	now := time.Now()
	s.mu.Lock()
	kind := refusalKind{role, reason}
	c := s.counts[kind]
	if c == nil {
		c = &refusalCount{}
		s.counts[kind] = c
	}
	c.n++
	since := c.n - c.told
	quiet := c.told > 0 && now.Sub(c.at) < strangersQuiet
	if !quiet {
		c.told, c.at = c.n, now
	}
	s.mu.Unlock()
	if quiet {
		return
	}
	s.log.Warn("a peer was refused", "role", role, "reason", string(reason), "peer", peer, "times", since, "error", err)
}

// count returns how often each reason came up, by role and reason, and how many
// connections are in plain text.
func (s *strangers) count() (refused []TLSRefusals, plaintext uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for kind, c := range s.counts {
		refused = append(refused, TLSRefusals{Role: kind.role, Reason: kind.reason, Count: c.n})
	}
	slices.SortFunc(refused, func(a, b TLSRefusals) int {
		return cmp.Or(cmp.Compare(a.Role, b.Role), cmp.Compare(a.Reason, b.Reason))
	})
	return refused, s.plaintext
}
