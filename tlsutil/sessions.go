package tlsutil

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"sync"
	"sync/atomic"
)

// A resumed TLS session shows the certificates of the first handshake again.
// They are verified again, so resumption is no way round; but a session that
// can no longer pass must also not be tried again and again until its ticket
// runs out (seven days). Hence both ends forget their sessions when roots or own
// certificate change, long before that one expires within a session, and when one
// was refused after all: crypto/tls does so in a client, tickets.refused in a
// server.

// sessions is a client's cache of them.
type sessions struct {
	src  Source
	size int

	mu    sync.Mutex
	mark  [32]byte
	cache tls.ClientSessionCache
}

func newSessions(src Source, size int) *sessions {
	return &sessions{src: src, size: size, cache: tls.NewLRUClientSessionCache(size)}
}

// Get is the one of [tls.ClientSessionCache].
func (s *sessions) Get(key string) (*tls.ClientSessionState, bool) { return s.current().Get(key) }

// Put is the one of [tls.ClientSessionCache].
func (s *sessions) Put(key string, cs *tls.ClientSessionState) { s.current().Put(key, cs) }

func (s *sessions) current() tls.ClientSessionCache {
	id, err := current(s.src)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil && id.mark != s.mark {
		s.mark, s.cache = id.mark, tls.NewLRUClientSessionCache(s.size)
	}
	return s.cache
}

// tickets stamps the sessions that a server hands out.
type tickets struct {
	src    Source
	config *tls.Config // whose keys seal tickets, for its clones as well
	era    atomic.Uint64
}

// wrap is the WrapSession of [tls.Config].
func (t *tickets) wrap(cs tls.ConnectionState, state *tls.SessionState) ([]byte, error) {
	// No stamp without an identity: such a ticket is never resumed.
	if stamp, ok := t.stamp(); ok {
		state.Extra = append(state.Extra, stamp)
	}
	return t.config.EncryptTicket(cs, state)
}

// unwrap is the UnwrapSession of [tls.Config]. No session means a full
// handshake, not a refusal.
func (t *tickets) unwrap(ticket []byte, cs tls.ConnectionState) (*tls.SessionState, error) {
	state, err := t.config.DecryptTicket(ticket, cs)
	if state == nil || err != nil {
		return nil, err
	}
	stamp, ok := t.stamp()
	if n := len(state.Extra); !ok || n == 0 || !bytes.Equal(state.Extra[n-1], stamp) {
		return nil, nil //nolint:nilnil // as crypto/tls wants it
	}
	return state, nil
}

// refused hears of resumed sessions that were refused. A peer that is merely
// denied keeps its session, lest it could spoil those of others.
func (t *tickets) refused(err error) {
	if !errors.Is(err, ErrDenied) {
		t.era.Add(1)
	}
}

func (t *tickets) stamp() ([]byte, bool) {
	id, err := current(t.src)
	if err != nil {
		return nil, false
	}
	return binary.BigEndian.AppendUint64(id.mark[:len(id.mark):len(id.mark)], t.era.Load()), true
}
