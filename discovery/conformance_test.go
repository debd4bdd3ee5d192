package discovery_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/innermesh/innermesh/discovery"
	"github.com/innermesh/innermesh/discovery/discoverytest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestStaticConforms(t *testing.T) {
	discoverytest.Run(t, discoverytest.Harness{
		AddressOnly: true,
		Open: func(_ *testing.T, services map[string][]discovery.Instance) discovery.Source {
			static := discovery.Static{}
			for name, instances := range services {
				for _, inst := range instances {
					static[name] = append(static[name], inst.Address)
				}
			}
			return static
		},
	})
}

func TestMemoryConforms(t *testing.T) {
	var memory *discovery.Memory
	set := func(t *testing.T, service string, instances ...discovery.Instance) {
		t.Helper()
		if err := memory.Set(service, instances...); err != nil {
			t.Fatal(err)
		}
	}
	discoverytest.Run(t, discoverytest.Harness{
		Open: func(t *testing.T, services map[string][]discovery.Instance) discovery.Source {
			memory = &discovery.Memory{}
			for name, instances := range services {
				set(t, name, instances...)
			}
			return memory
		},
		Set: set,
	})
}
