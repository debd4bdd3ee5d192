package consul

import (
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/innermesh/innermesh/discovery"
	"github.com/innermesh/innermesh/internal/consul"
)

func sample(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestDecodeRealAnswers(t *testing.T) {
	d, err := decode(sample(t, "connect-web.json"), "dc1")
	if err != nil || len(d.unusable) > 0 {
		t.Fatal(d.unusable, err)
	}
	want := []discovery.Instance{
		{ID: "dev1/web-1", Address: "127.0.0.1:19001", Weight: 10, Tags: []string{"primary", "v1"}, Meta: map[string]string{"version": "v1"}},
		{ID: "dev1/web-2", Address: "127.0.0.1:19002", Weight: 2, Health: discovery.Warning, Tags: []string{"v2"}, Meta: map[string]string{"version": "v2"}},
		{ID: "dev1/web-3", Address: "127.0.0.1:19003", Weight: 1, Health: discovery.Critical, Tags: []string{}, Meta: map[string]string{"version": "v2"}},
	}
	for i := range want {
		want[i].Datacenter, want[i].Node = "dc1", "dev1"
	}
	if !reflect.DeepEqual(d.instances, want) {
		t.Errorf("got\n%+v, want\n%+v", d.instances, want)
	}
	remote, err := decode(sample(t, "connect-web.json"), "dc2")
	if err != nil || remote.instances[0].Address != "198.51.100.7:29001" {
		t.Errorf("from another datacenter: %+v, %v", remote, err)
	}
	sidecar, err := decode(sample(t, "connect-api-sidecar.json"), "")
	if err != nil || len(sidecar.instances) != 1 || !strings.HasSuffix(sidecar.instances[0].Address, ":19120") {
		t.Errorf("behind a sidecar: %+v, %v", sidecar, err)
	}
}

func TestDecodeAddresses(t *testing.T) {
	for _, c := range []struct{ service, node, local, want string }{
		{`"Address":"10.0.0.1","Port":80`, ``, "", "10.0.0.1:80"},
		{`"Port":80`, ``, "", "192.0.2.1:80"},
		{`"Address":"::1","Port":80`, ``, "", "[::1]:80"},
		{`"Address":"host.example","Port":80`, ``, "", "host.example:80"},
		{`"Address":"10.0.0.1","Port":80,"TaggedAddresses":{"wan":{"Address":"8.8.8.8","Port":81}}`, ``, "dc1", "10.0.0.1:80"},
		{`"Address":"10.0.0.1","Port":80,"TaggedAddresses":{"wan":{"Address":"8.8.8.8","Port":81}}`, ``, "dc9", "8.8.8.8:81"},
		{`"Address":"10.0.0.1","Port":80,"TaggedAddresses":{"wan":{"Address":"8.8.8.8"}}`, ``, "dc9", "8.8.8.8:80"},
		{`"Address":"10.0.0.1","Port":80`, `,"TaggedAddresses":{"wan":"9.9.9.9"}`, "dc9", "10.0.0.1:80"},
		{`"Port":80`, `,"TaggedAddresses":{"wan":"9.9.9.9"}`, "dc9", "9.9.9.9:80"},
		{`"Port":80`, ``, "dc9", "192.0.2.1:80"},
		{`"Port":0`, ``, "", ""},
		{`"Port":70000`, ``, "", ""},
		{`"Port":80,"SocketPath":"/run/x"`, ``, "", ""},
	} {
		body := fmt.Sprintf(`[{"Node":{"Node":"n","Address":"192.0.2.1","Datacenter":"dc1"%s},"Service":{"ID":"s",%s}}]`, c.node, c.service)
		d, err := decode([]byte(body), c.local)
		switch {
		case err != nil:
			t.Error(err)
		case c.want == "" && (len(d.instances) != 0 || !slices.Equal(d.unusable, []string{"n/s"})):
			t.Errorf("%s: got %+v, left out %q", body, d.instances, d.unusable)
		case c.want != "" && (len(d.instances) != 1 || d.instances[0].Address != c.want):
			t.Errorf("%s from %q: got %+v, want %s", body, c.local, d.instances, c.want)
		}
	}
}

func TestDecodeHealthAndWeight(t *testing.T) {
	for _, c := range []struct {
		statuses, weights string
		health            discovery.Health
		weight            int
	}{
		{``, ``, discovery.Passing, 1},
		{`passing passing`, `"Passing":7,"Warning":3`, discovery.Passing, 7},
		{`passing warning`, `"Passing":7,"Warning":3`, discovery.Warning, 3},
		{`warning critical`, `"Passing":7,"Warning":3`, discovery.Critical, 7},
		{`warning maintenance`, `"Passing":7,"Warning":3`, discovery.Critical, 7},
		{`unheard-of`, ``, discovery.Critical, 1},
		{`warning`, `"Passing":7,"Warning":0`, discovery.Critical, 1},
		{`warning`, ``, discovery.Warning, 1},
	} {
		var checks []string
		for s := range strings.FieldsSeq(c.statuses) {
			checks = append(checks, `{"Status":"`+s+`"}`)
		}
		body := fmt.Sprintf(`[{"Node":{"Node":"n","Address":"h"},"Service":{"ID":"s","Port":1,"Weights":{%s}},"Checks":[%s]}]`,
			c.weights, strings.Join(checks, ","))
		d, err := decode([]byte(body), "")
		if err != nil || len(d.instances) != 1 || d.instances[0].Health != c.health || d.instances[0].Weight != c.weight {
			t.Errorf("%s: got %+v, %v; want %v of weight %d", body, d.instances, err, c.health, c.weight)
		}
	}
}

func TestDecodeLocality(t *testing.T) {
	for _, c := range []struct{ node, service, want string }{
		{`"Meta":{"region":"a","zone":"b"}`, ``, "a b"},
		{`"Meta":{"region":"a","zone":"b"},"Locality":{"Region":"c","Zone":"d"}`, ``, "c d"},
		{`"Meta":{"region":"a","zone":"b"},"Locality":{"Region":"c"}`, `,"Locality":{"Zone":"e"}`, "c e"},
		{`"Locality":null`, `,"Locality":null`, " "},
	} {
		body := fmt.Sprintf(`[{"Node":{"Node":"n","Address":"h",%s},"Service":{"ID":"s","Port":1%s}}]`, c.node, c.service)
		d, err := decode([]byte(body), "")
		if err != nil || len(d.instances) != 1 || d.instances[0].Region+" "+d.instances[0].Zone != c.want {
			t.Errorf("%s: got %+v, %v; want %s", body, d.instances, err, c.want)
		}
	}
}

func TestDecodeKeepsIDsApart(t *testing.T) {
	one := `{"Node":{"Node":"n1","Address":"h"},"Service":{"ID":"s","Port":1}}`
	two := `{"Node":{"Node":"n0","Address":"h"},"Service":{"ID":"s","Port":1}}`
	d, err := decode([]byte("["+one+","+two+","+one+"]"), "")
	if err != nil || len(d.instances) != 2 || d.instances[0].ID != "n0/s" || d.instances[1].ID != "n1/s" || len(d.unusable) != 1 {
		t.Errorf("got %+v, left out %q, %v", d.instances, d.unusable, err)
	}
	if _, err := decode([]byte(`{"not":"a list"}`), ""); !errors.Is(err, consul.ErrMalformed) {
		t.Errorf("got %v", err)
	}
}

func FuzzDecode(f *testing.F) {
	// Small ones: large seeds are cut down for a minute each before anything is tried.
	f.Add(fmt.Appendf(nil, health1, 1, 2), "near")
	f.Add([]byte(`[{"Node":{"Node":"n","Address":"h"},"Service":{"ID":"s","Port":1,"Weights":{"Warning":0}},"Checks":[{"Status":"warning"}]}]`), "")
	f.Add([]byte(`[]`), "")
	f.Add([]byte(`null`), "")
	f.Add([]byte(`[null,{}]`), "x")
	f.Add([]byte(`[{"Service":{"Port":-1,"Weights":{"Passing":-5}}}]`), "")
	f.Fuzz(func(t *testing.T, body []byte, local string) {
		d, err := decode(body, local)
		if err != nil && len(d.instances) > 0 {
			t.Error("instances beside an error")
		}
		if !slices.IsSortedFunc(d.instances, func(a, b discovery.Instance) int { return strings.Compare(a.ID, b.ID) }) {
			t.Error("not sorted")
		}
		for i, inst := range d.instances {
			if err := inst.Validate(); err != nil {
				t.Error(err)
			}
			if inst.Weight < 1 || i > 0 && inst.ID == d.instances[i-1].ID {
				t.Errorf("weight or ID of %+v", inst)
			}
		}
	})
}
