package tlsutil

import (
	"errors"
	"strings"
	"testing"
)

func TestAuthorizers(t *testing.T) {
	parse := func(s string) ID {
		id, err := ParseID(s)
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	self := parse("spiffe://td/ns/default/dc/dc1/svc/me")
	web := parse("spiffe://td/ns/default/dc/dc1/svc/web")
	tests := []struct {
		name      string
		authorize Authorizer
		self      ID
		peer      string
		welcome   bool
	}{
		{"any", AuthorizeAny(), self, "spiffe://other/x", true},
		{"id", AuthorizeID(web), self, web.String(), true},
		{"id of another dc", AuthorizeID(web), self, "spiffe://td/ns/default/dc/dc2/svc/web", false},
		{"id in another case", AuthorizeID(web), self, "spiffe://td/ns/default/dc/dc1/svc/Web", false},
		{"zero id", AuthorizeID(ID{}), self, web.String(), false},
		{"one of", AuthorizeOneOf(self, web), self, web.String(), true},
		{"none of", AuthorizeOneOf(), self, web.String(), false},
		{"not one of", AuthorizeOneOf(self, web), self, "spiffe://td/x", false},
		{"service", AuthorizeService("web"), self, web.String(), true},
		{"service in another dc", AuthorizeService("web"), self, "spiffe://td/ns/default/dc/dc2/svc/web", true},
		{"other service", AuthorizeService("web"), self, "spiffe://td/ns/default/dc/dc1/svc/web2", false},
		{"service of another domain", AuthorizeService("web"), self, "spiffe://other/ns/default/dc/dc1/svc/web", false},
		{"service of another namespace", AuthorizeService("web"), self, "spiffe://td/ns/blue/dc/dc1/svc/web", false},
		{"service of another partition", AuthorizeService("web"), self, "spiffe://td/ap/x/ns/default/dc/dc1/svc/web", false},
		{"no service", AuthorizeService("web"), self, "spiffe://td/gateway/mesh/dc/dc1", false},
		{"no name", AuthorizeService(""), self, "spiffe://td/gateway/mesh/dc/dc1", false},
		{"service within own tenancy", AuthorizeService("web"), parse("spiffe://td/ap/x/ns/blue/dc/d/svc/me"), "spiffe://td/ap/x/ns/blue/dc/dc1/svc/web", true},
		{"service seen by a gateway", AuthorizeService("web"), parse("spiffe://td/gateway/mesh/dc/dc1"), web.String(), true},
		{"service seen by a gateway elsewhere", AuthorizeService("web"), parse("spiffe://other/gateway/mesh/dc/dc1"), web.String(), false},
		{"target", AuthorizeTarget(ServiceID{Service: "web"}), parse("spiffe://td/ns/default/dc/dc1/svc/me"), web.String(), true},
		{"target in another dc", AuthorizeTarget(ServiceID{Service: "web"}), self, "spiffe://td/ns/default/dc/dc2/svc/web", false},
		{"target expected in another dc", AuthorizeTarget(ServiceID{Service: "web", Datacenter: "dc2"}), self, "spiffe://td/ns/default/dc/dc2/svc/web", true},
		{"target not there", AuthorizeTarget(ServiceID{Service: "web", Datacenter: "dc2"}), self, web.String(), false},
		{"target of another name", AuthorizeTarget(ServiceID{Service: "web"}), self, "spiffe://td/ns/default/dc/dc1/svc/web2", false},
		{"target of another domain", AuthorizeTarget(ServiceID{Service: "web"}), self, "spiffe://td2/ns/default/dc/dc1/svc/web", false},
		{"target in another namespace", AuthorizeTarget(ServiceID{Service: "web", Namespace: "blue"}), self, web.String(), false},
		{"target in our partition", AuthorizeTarget(ServiceID{Service: "web"}), parse("spiffe://td/ap/x/ns/blue/dc/dc1/svc/me"), "spiffe://td/ap/x/ns/blue/dc/dc1/svc/web", true},
		{"target in the default partition, said", AuthorizeTarget(ServiceID{Service: "web", Partition: "default"}), self, web.String(), true},
		{"mesh", AuthorizeMesh(), self, web.String(), true},
		{"mesh in another dc and namespace", AuthorizeMesh(), self, "spiffe://td/ns/blue/dc/dc2/svc/web", true},
		{"mesh, a gateway", AuthorizeMesh(), self, "spiffe://td/gateway/mesh/dc/dc1", false},
		{"mesh, another domain", AuthorizeMesh(), self, "spiffe://other/ns/default/dc/dc1/svc/web", false},
		{"mesh without services", AuthorizeMesh(), parse("spiffe://td/me"), "spiffe://td/x", true},
		{"trust domain", AuthorizeTrustDomain("td"), self, "spiffe://td/x", true},
		{"other trust domain", AuthorizeTrustDomain("td"), self, "spiffe://td2/x", false},
	}
	for _, test := range tests {
		peer := parse(test.peer)
		err := test.authorize(peer, test.self)
		if test.welcome {
			if err != nil {
				t.Errorf("%s: %v", test.name, err)
			}
			continue
		}
		pe, ok := errors.AsType[*PeerError](err)
		if !ok || !errors.Is(err, ErrDenied) || pe.Peer != peer || pe.Expected == "" {
			t.Errorf("%s: got %v, want a denial that names peer and expectation", test.name, err)
		}
	}
}

// A gateway has no datacenter to go by, and nobody has a name that is none: both
// welcome nobody.
func TestAuthorizeTargetWithoutName(t *testing.T) {
	gateway, err := ParseID("spiffe://td/gateway/mesh/dc/dc1")
	if err != nil {
		t.Fatal(err)
	}
	for _, target := range []ServiceID{{Service: "web"}, {Service: "", Datacenter: "dc1"}, {Service: "a/b", Datacenter: "dc1"}} {
		if err := AuthorizeTarget(target)(gateway, gateway); !errors.Is(err, ErrDenied) {
			t.Errorf("%+v: %v", target, err)
		}
	}
}

func TestDenialStaysShort(t *testing.T) {
	ids := make([]ID, 100)
	for i := range ids {
		id, err := NewID("td", strings.Repeat("x", i+1))
		if err != nil {
			t.Fatal(err)
		}
		ids[i] = id
	}
	peer, err := NewID("td", "y")
	if err != nil {
		t.Fatal(err)
	}
	msg := AuthorizeOneOf(ids...)(peer, peer).Error()
	if !strings.Contains(msg, "or 96 more") || !strings.Contains(msg, "spiffe://td/y") || len(msg) > 300 {
		t.Errorf("got %q", msg)
	}
}

func TestAuthorizeOneOfKeepsItsList(t *testing.T) {
	a, errA := NewID("td", "a")
	b, errB := NewID("td", "b")
	if errA != nil || errB != nil {
		t.Fatal(errA, errB)
	}
	ids := []ID{a}
	authorize := AuthorizeOneOf(ids...)
	ids[0] = b
	if authorize(a, a) != nil || authorize(b, a) == nil {
		t.Error("the caller's slice changes what was authorized")
	}
}
