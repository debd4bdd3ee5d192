package tlsutil

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"time"
)

// sound says once that an identity is near its end, and once that it is there,
// which it returns.
func (r *Renewer) sound(id, before *Identity, now time.Time, why error) (over bool) {
	if id == nil {
		return false
	}
	if before == nil || !id.cert.Leaf.Equal(before.cert.Leaf) {
		r.sounded = fresh
	}
	stage, _ := ageOf(id, now)
	if stage <= r.sounded {
		return false
	}
	r.sounded = stage
	if stage == nearEnd {
		r.o.Log.Warn("the certificate is near its end and has not been renewed",
			"name", r.o.Name, "id", id.id.String(), "expires", id.NotAfter(), "error", why)
		return false
	}
	r.o.Log.Error("the certificate has expired: connections fail until it is renewed",
		"name", r.o.Name, "id", id.id.String(), "expired", id.NotAfter(), "error", why)
	return true
}

// log tells what has changed, each trouble once until all is well again.
func (r *Renewer) log(before, now *Identity, err error) {
	if now != before {
		was := ""
		if before != nil {
			was = before.id.String()
		}
		r.o.Log.Info("identity replaced", "id", now.id.String(), "was", was, "expires", now.NotAfter())
	}
	if err == nil {
		if len(r.told) > 0 && now != nil && now == before {
			r.o.Log.Info("certificate and roots good again", "name", r.o.Name, "id", now.id.String(), "expires", now.NotAfter())
		}
		clear(r.told)
		return
	}
	const most = 16 // whoever words each error anew must not fill the log
	if why := reason(err); !r.told[why] && len(r.told) < most {
		r.told[why] = true
		r.o.Log.Warn("no newer identity", "name", r.o.Name, "error", err)
	}
}

// reason is equal for errors that are the same news: those about time end with
// the time.
func reason(err error) string {
	switch {
	case err == nil:
		return ""
	case errors.Is(err, ErrExpired):
		return ErrExpired.Error()
	case errors.Is(err, ErrNotYetValid):
		return ErrNotYetValid.Error()
	default:
		return err.Error()
	}
}

// leafOf returns the leaf of a certificate, nil if it can not be read.
func leafOf(cert *tls.Certificate) *x509.Certificate {
	if cert.Leaf != nil || len(cert.Certificate) == 0 {
		return cert.Leaf
	}
	leaf, err := x509.ParseCertificate(cert.Certificate[0])
	if err != nil {
		return nil
	}
	return leaf
}
