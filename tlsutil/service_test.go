package tlsutil

import (
	"errors"
	"strings"
	"testing"
)

func TestServiceID(t *testing.T) {
	for uri, want := range map[string]ServiceID{
		"spiffe://td/ns/default/dc/dc1/svc/web":         {TrustDomain: "td", Namespace: "default", Datacenter: "dc1", Service: "web"},
		"spiffe://td/ap/team/ns/blue/dc/dc1/svc/web":    {TrustDomain: "td", Partition: "team", Namespace: "blue", Datacenter: "dc1", Service: "web"},
		"spiffe://td/ns/ns/dc/dc/svc/svc":               {TrustDomain: "td", Namespace: "ns", Datacenter: "dc", Service: "svc"},
		"spiffe://td/ap/ns/ns/default/dc/dc1/svc/Web.1": {TrustDomain: "td", Partition: "ns", Namespace: "default", Datacenter: "dc1", Service: "Web.1"},
	} {
		id, err := ParseID(uri)
		if err != nil {
			t.Fatal(err)
		}
		got, err := id.Service()
		if err != nil || got != want {
			t.Errorf("%s is %+v, %v; want %+v", uri, got, err, want)
		}
		if back, err := want.ID(); err != nil || back != id {
			t.Errorf("%+v is %s, %v; want %s", want, back, err, uri)
		}
	}
}

func TestServiceIDDefaults(t *testing.T) {
	for _, s := range []ServiceID{
		{TrustDomain: "td", Datacenter: "dc1", Service: "web"},
		{TrustDomain: "td", Partition: "default", Namespace: "default", Datacenter: "dc1", Service: "web"},
	} {
		if id, err := s.ID(); err != nil || id.String() != "spiffe://td/ns/default/dc/dc1/svc/web" {
			t.Errorf("%+v is %q, %v", s, id, err)
		}
	}
	id, err := ParseID("spiffe://td/ap/default/ns/default/dc/dc1/svc/web")
	if err != nil {
		t.Fatal(err)
	}
	if s, err := id.Service(); err != nil || s.Partition != "" {
		t.Errorf("the default partition is %q, %v", s.Partition, err)
	}
}

func TestServiceIDRefuses(t *testing.T) {
	for _, uri := range []string{
		"spiffe://td", "spiffe://td/web", "spiffe://td/gateway/mesh/dc/dc1", "spiffe://td/agent/client/dc/dc1/id/n",
		"spiffe://td/ns/default/dc/dc1/svc", "spiffe://td/ns/default/dc/dc1/svc/web/more", "spiffe://td/NS/default/dc/dc1/svc/web",
		"spiffe://td/dc/dc1/ns/default/svc/web", "spiffe://td/ap/x/ns/default/dc/dc1/svc", "spiffe://td/pa/x/ns/default/dc/dc1/svc/web",
	} {
		id, err := ParseID(uri)
		if err != nil {
			t.Fatal(err)
		}
		if s, err := id.Service(); !errors.Is(err, ErrNotService) {
			t.Errorf("%s is taken for %+v, %v", uri, s, err)
		}
	}
	if _, err := (ID{}).Service(); !errors.Is(err, ErrNotService) {
		t.Errorf("the zero ID: %v", err)
	}
	_, err := ServiceID{TrustDomain: "T", Partition: "a/b", Namespace: "..", Service: "web/../admin"}.ID()
	for _, field := range []string{"TrustDomain", "Partition", "Namespace", "Datacenter", "Service"} {
		if err == nil || !errors.Is(err, ErrBadID) || !strings.Contains(err.Error(), field+":") {
			t.Errorf("the error does not name %s: %v", field, err)
		}
	}
}
