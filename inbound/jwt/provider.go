package jwt

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"
)

// ErrMalformed is wrapped by errors about answers that are not Consul's.
var ErrMalformed = errors.New("this is not a list of providers of JSON web tokens")

// Provider is one config entry of kind jwt-provider, by Consul's names.
type Provider struct {
	// Name is what intentions call it. Required.
	Name string
	// Issuer is what tokens must say. Required.
	Issuer string
	// Audiences are those of which a token must name one. Default: any will do.
	Audiences []string
	// JSONWebKeySet are the keys, or where they are. Required.
	JSONWebKeySet *KeySet
	// Locations are where requests show their tokens. Default: the header
	// Authorization after "Bearer ", and the query's access_token.
	Locations []Location
	// Forwarding is the header in which handlers find what a good token says.
	Forwarding *Forwarding
	// ClockSkewSeconds is how far clocks may differ. Default: 30. Sidecars always
	// allow 60.
	ClockSkewSeconds int

	// odd is what was said and not understood.
	odd error
}

// KeySet is one of the two.
type KeySet struct {
	Local  *Local
	Remote *Remote
}

// Local are keys, in base64, or in a file of this machine.
type Local struct{ JWKS, Filename string }

// Remote is where keys are fetched.
type Remote struct {
	// URI is of the scheme https, or http.
	URI string
	// RequestTimeoutMs bounds one try. Default: 5,000.
	RequestTimeoutMs int
	// CacheDuration is for how long keys are good. Default: 5 min.
	CacheDuration time.Duration
	// FetchAsynchronously: keys are always fetched before they are asked for.
	FetchAsynchronously bool
	// RetryPolicy says how soon a try that failed is followed by another.
	RetryPolicy *RetryPolicy
	// UseSNI is always so.
	UseSNI bool
	// JWKSCluster says how the connection is made.
	JWKSCluster *Cluster
}

// RetryPolicy has pauses that double. Tries go on for ever, whatever NumRetries.
type RetryPolicy struct {
	NumRetries         int
	RetryPolicyBackOff *struct {
		// Default: 1 s and 10 s.
		BaseInterval, MaxInterval time.Duration
	}
}

// Cluster says how the connection to where the keys are is made. How names are
// looked up is Go's affair.
type Cluster struct {
	DiscoveryType   string
	ConnectTimeout  time.Duration
	TLSCertificates *struct {
		CaCertificateProviderInstance *struct{ InstanceName, CertificateName string }
		TrustedCA                     *struct {
			Filename, EnvironmentVariable, InlineString string
			InlineBytes                                 []byte
		}
	}
}

// Location is one of the three.
type Location struct {
	Header *struct {
		Name, ValuePrefix string
		// Forward leaves the header for handlers. Otherwise it is taken out once
		// the token was found good.
		Forward bool
	}
	QueryParam *struct{ Name string }
	Cookie     *struct{ Name string }
}

// Forwarding is a header that nobody but this package can set.
type Forwarding struct {
	HeaderName string
	// PadForwardPayloadHeader pads its base64.
	PadForwardPayloadHeader bool
}

// Decode reads Consul's answer to /v1/config/jwt-provider. Errors wrap
// [ErrMalformed].
//
// A field that is not known may hold a condition, so tokens of such a provider
// are refused.
func Decode(body []byte) ([]Provider, error) {
	var raw []json.RawMessage
	if err := json.Unmarshal(body, &raw); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	list := make([]Provider, len(raw))
	var faults []error
	for n, one := range raw {
		if err := json.Unmarshal(one, &list[n]); err != nil { //nolint:musttag // Consul spells its fields as Go does
			faults = append(faults, fmt.Errorf("%w: number %d: %w", ErrMalformed, n+1, err))
		} else if list[n].Name == "" {
			faults = append(faults, fmt.Errorf("%w: number %d has no name", ErrMalformed, n+1))
		}
		list[n].odd = unknown(one)
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	return list, nil
}

// unknown says what of an entry is not known, beside what says nothing of tokens.
func unknown(entry []byte) error {
	d := json.NewDecoder(bytes.NewReader(entry))
	d.DisallowUnknownFields()
	return d.Decode(&struct { //nolint:musttag // Consul spells its fields as Go does
		Provider
		Kind, Partition, Namespace     string
		Meta                           map[string]string
		CacheConfig                    json.RawMessage
		Hash, CreateIndex, ModifyIndex uint64
	}{})
}

// Validate reports all faults with the names of their fields.
func (p *Provider) Validate() error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if p.odd != nil {
		fault("it says what is not supported: %w", p.odd)
	}
	for _, f := range []struct{ field, value string }{{"Name", p.Name}, {"Issuer", p.Issuer}} {
		if f.value == "" {
			fault("%s: is empty, and is required", f.field)
		}
	}
	if p.ClockSkewSeconds < 0 {
		fault("ClockSkewSeconds: %d is negative", p.ClockSkewSeconds)
	}
	for n, l := range p.Locations {
		if l.said() != 1 {
			fault("Locations[%d]: must name one of Header, QueryParam and Cookie", n)
		}
	}
	if f := p.Forwarding; f != nil && (f.HeaderName == "" || strings.EqualFold(f.HeaderName, "Host")) {
		fault("Forwarding.HeaderName: %q can not be set", f.HeaderName)
	}
	switch set := p.JSONWebKeySet; {
	case set == nil || (set.Local == nil) == (set.Remote == nil):
		fault("JSONWebKeySet: must name one of Local and Remote")
	case set.Local != nil && (set.Local.JWKS == "") == (set.Local.Filename == ""):
		fault("JSONWebKeySet.Local: must name one of JWKS and Filename")
	case set.Remote != nil:
		if err := set.Remote.validate(); err != nil {
			fault("JSONWebKeySet.Remote.%w", err)
		}
	}
	return errors.Join(faults...)
}

// Public says that the entry has no keys but public ones, and nothing that is not
// known: it may be kept where others can read it.
func (p *Provider) Public() bool {
	if p.odd != nil || p.JSONWebKeySet == nil {
		return false
	}
	l := p.JSONWebKeySet.Local
	if l == nil || l.JWKS == "" {
		return true
	}
	document, err := l.read()
	return err == nil && onlyPublic(document)
}

func (r *Remote) validate() error {
	u, err := url.Parse(r.URI)
	switch {
	case err != nil || u.Host == "" || !slices.Contains([]string{"https", "http"}, u.Scheme):
		return errors.New("URI: must be an address of https or http") // it may hold a password
	case r.RequestTimeoutMs < 0 || r.CacheDuration < 0:
		return errors.New("RequestTimeoutMs, CacheDuration: must not be negative")
	}
	if c := r.JWKSCluster; c != nil && c.TLSCertificates != nil && c.TLSCertificates.CaCertificateProviderInstance != nil {
		return errors.New("JWKSCluster.TLSCertificates.CaCertificateProviderInstance: is not supported")
	}
	return nil
}

func (l *Location) said() (n int) {
	if l.Header != nil && l.Header.Name != "" {
		n++
	}
	if l.QueryParam != nil && l.QueryParam.Name != "" {
		n++
	}
	if l.Cookie != nil && l.Cookie.Name != "" {
		n++
	}
	return n
}

// read returns the keys' document.
func (l *Local) read() ([]byte, error) {
	if l.Filename != "" {
		return os.ReadFile(l.Filename)
	}
	return base64.StdEncoding.DecodeString(l.JWKS)
}
