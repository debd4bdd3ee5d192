package consulca

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/innermesh/innermesh/internal/consul"
	"github.com/innermesh/innermesh/tlsutil"
)

// learned is what Consul has told, whether it fits together or not.
type learned struct {
	leaf     *tls.Certificate
	roots    *tlsutil.Roots
	rootsAs  string // how Consul said them
	leafErr  error
	rootsErr error
	told     string // the last refusal in the log
}

// errMalformed stands for what a decoder has to say, which may quote a key.
var errMalformed = errors.New("the agent's answer can not be read")

func (s *Source) takeLeaf(r consul.Result) {
	var leaf *tls.Certificate
	err := r.Err
	if err == nil {
		leaf, err = decodeLeaf(r.Body)
	}
	if errors.Is(err, consul.ErrPermission) {
		err = fmt.Errorf("%w: %w", ErrPermission, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.leafErr = err; err == nil {
		s.leaf = leaf
	}
	s.fit(time.Now())
}

func (s *Source) takeRoots(r consul.Result) {
	s.mu.Lock()
	defer s.mu.Unlock()
	err, as := r.Err, string(r.Body)
	if err == nil && (s.roots == nil || as != s.rootsAs) {
		var roots *tlsutil.Roots
		if roots, err = decodeRoots(r.Body); err == nil {
			s.roots, s.rootsAs = roots, as
		}
	}
	if s.rootsErr = nil; err != nil {
		s.rootsErr = fmt.Errorf("roots: %w", err)
	}
	s.fit(time.Now())
}

// fit makes an identity of what was learned, if that is possible now. The caller
// holds the lock.
func (s *Source) fit(now time.Time) {
	before := s.state.Load()
	id, err := before.id, errors.Join(s.leafErr, s.rootsErr)
	if s.leaf != nil && s.roots != nil && !s.inUse(id) {
		next, fault := assemble(s.leaf, s.roots, now)
		if fault == nil {
			id = next
		}
		err = errors.Join(err, fault)
	}
	s.log(before.id, id, err)
	if id != before.id || reason(err) != reason(before.err) {
		s.tell(id, err)
	}
}

// inUse says whether that identity is made of what was learned.
func (l *learned) inUse(id *tlsutil.Identity) bool {
	return id != nil && id.Roots() == l.roots && id.Certificate().Leaf.Equal(l.leaf.Leaf)
}

// log tells what has changed. The watches have told what keeps Consul from
// answering; here it is about what it has answered.
func (s *Source) log(before, now *tlsutil.Identity, err error) {
	if now != before {
		was := ""
		if before != nil {
			was = before.ID().String()
		}
		s.o.Log.Info("identity replaced", "id", now.ID().String(), "was", was, "expires", now.NotAfter())
	}
	why := reason(err)
	if why != s.told && err != nil {
		s.o.Log.Warn("no newer identity from Consul", "service", s.o.Service, "error", err)
	}
	if why == "" && s.told != "" && now == before {
		s.o.Log.Info("identity from Consul good again", "id", now.ID().String(), "expires", now.NotAfter())
	}
	s.told = why
}

// reason is equal for errors that are the same news: those about time end with
// the time.
func reason(err error) string {
	switch {
	case err == nil:
		return ""
	case errors.Is(err, tlsutil.ErrExpired):
		return tlsutil.ErrExpired.Error()
	case errors.Is(err, tlsutil.ErrNotYetValid):
		return tlsutil.ErrNotYetValid.Error()
	default:
		return err.Error()
	}
}

// assemble makes an identity that can be shown now, and that others who trust the
// same roots will trust.
func assemble(leaf *tls.Certificate, roots *tlsutil.Roots, now time.Time) (*tlsutil.Identity, error) {
	id, err := tlsutil.NewIdentity(*leaf, roots)
	if err != nil {
		return nil, err
	}
	if err := id.Valid(now); err != nil {
		return nil, err
	}
	if err := id.Check(now); err != nil {
		return nil, fmt.Errorf("certificate under Consul's roots: %w", err)
	}
	return id, nil
}

func decodeLeaf(body []byte) (*tls.Certificate, error) {
	var told struct {
		CertPEM       string `json:"CertPEM"`
		PrivateKeyPEM string `json:"PrivateKeyPEM"`
	}
	if err := json.Unmarshal(body, &told); err != nil {
		return nil, fmt.Errorf("certificate: %w", errMalformed)
	}
	pair, err := tls.X509KeyPair([]byte(told.CertPEM), []byte(told.PrivateKeyPEM))
	if err != nil {
		return nil, fmt.Errorf("certificate: %w: %w", errMalformed, err) // it names no part of the key
	}
	return &pair, nil
}

func decodeRoots(body []byte) (*tlsutil.Roots, error) {
	var told struct {
		TrustDomain string `json:"TrustDomain"`
		Roots       []struct {
			RootCert string `json:"RootCert"`
		} `json:"Roots"`
	}
	if err := json.Unmarshal(body, &told); err != nil {
		return nil, fmt.Errorf("%w: %w", errMalformed, err)
	}
	var certs []*x509.Certificate
	for i, root := range told.Roots {
		// Intermediates are not for trusting: they travel with the certificates.
		parsed, err := tlsutil.ParseCerts([]byte(root.RootCert))
		if err != nil {
			return nil, fmt.Errorf("root %d: %w", i+1, err)
		}
		certs = append(certs, parsed...)
	}
	return tlsutil.NewRoots(map[string][]*x509.Certificate{told.TrustDomain: certs})
}
