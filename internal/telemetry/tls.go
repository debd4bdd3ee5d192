package telemetry

import "time"

// TLS is how connections are secured when metrics are collected.
type TLS struct{ tell teller }

// ObserveTLS has each called when metrics are collected, to tell who was refused
// and how long this program's certificate lasts. stop ends that.
func (t *Telemetry) ObserveTLS(each func(TLS)) (stop func() error, err error) {
	return t.observe(func(tell teller) { each(TLS{tell}) }, metricTLSRefusals, metricTLSPlaintext, metricTLSExpiry)
}

// Refused tells how many peers one end has refused for a reason.
func (s TLS) Refused(role, reason string, n uint64) {
	s.tell(metricTLSRefusals, float64(n), attrRole.String(role), attrReason.String(reason))
}

// Plaintext tells how many connections were let in without TLS.
func (s TLS) Plaintext(n uint64) { s.tell(metricTLSPlaintext, float64(n)) }

// Expiry tells how long the certificate lasts.
func (s TLS) Expiry(left time.Duration) { s.tell(metricTLSExpiry, max(left.Seconds(), 0)) }
