package consul

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// made is a chain of the shape that Consul compiles, as JSON, with what must come
// of it.
type made struct {
	body   []byte
	shares [][]int    // of each route, in hundredths
	to     [][]string // of each route, the services
}

func chains() *rapid.Generator[made] {
	return rapid.Custom(func(t *rapid.T) made {
		services := rapid.SliceOfNDistinct(rapid.StringMatching(`[a-z]{1,5}`), 1, 4, rapid.ID).Draw(t, "services")
		nodes, targets := map[string]any{}, map[string]any{}
		for _, s := range services {
			targets[s+".default.default.dc1"] = map[string]any{"Service": s, "Datacenter": "dc1", "SNI": s + ".sni"}
			nodes["resolver:"+s] = map[string]any{"Type": "resolver", "Resolver": map[string]any{"ConnectTimeout": "5s", "Target": s + ".default.default.dc1"}}
		}
		var out made
		// way draws a node for a route to lead to.
		way := func(i int) string {
			if rapid.Bool().Draw(t, "straight") {
				s := rapid.SampledFrom(services).Draw(t, "service")
				out.to, out.shares = append(out.to, []string{s}), append(out.shares, []int{10000})
				return "resolver:" + s
			}
			var splits []any
			var shares []int
			var to []string
			for left := 10000; left > 0; {
				share := rapid.IntRange(0, left).Draw(t, "share")
				if len(splits) == 9 {
					share = left
				}
				left -= share
				s := rapid.SampledFrom(services).Draw(t, "service")
				splits = append(splits, map[string]any{"Weight": float32(share) / 100, "NextNode": "resolver:" + s})
				shares, to = append(shares, share), append(to, s)
			}
			out.to, out.shares = append(out.to, to), append(out.shares, shares)
			key := fmt.Sprintf("splitter:%d", i)
			nodes[key] = map[string]any{"Type": "splitter", "Splits": splits}
			return key
		}
		start := "router:" + services[0]
		if n := rapid.IntRange(0, 5).Draw(t, "routes"); n == 0 {
			start = way(0)
		} else {
			var routes []any
			for i := range n {
				match := map[string]any{"PathPrefix": rapid.StringMatching(`/[a-z]{0,3}`).Draw(t, "prefix")}
				routes = append(routes, map[string]any{"Definition": map[string]any{"Match": map[string]any{"HTTP": match}}, "NextNode": way(i)})
			}
			nodes[start] = map[string]any{"Type": "router", "Routes": routes}
		}
		var err error
		out.body, err = json.Marshal(map[string]any{"Chain": map[string]any{
			"ServiceName": services[0], "Datacenter": "dc1", "Protocol": "http", "StartNode": start, "Nodes": nodes, "Targets": targets,
		}})
		if err != nil {
			t.Fatal(err)
		}
		return out
	})
}

// Every chain of Consul's shape keeps all its ways: routes in order, legs in
// order, each with its exact share.
func TestChainsKeepTheirWays(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := chains().Draw(t, "chain")
		c, err := decodeChain(m.body)
		if err != nil {
			t.Fatalf("%v\n%s", err, m.body)
		}
		s, err := compile(c, false)
		if err != nil {
			t.Fatalf("%v\n%s", err, m.body)
		}
		if len(s.Routes) != len(m.to) {
			t.Fatalf("%d routes, want %d", len(s.Routes), len(m.to))
		}
		for i, r := range s.Routes {
			var shares []int
			var to []string
			for _, leg := range r.To {
				shares, to = append(shares, leg.Hundredths()), append(to, leg.Service)
			}
			if !slices.Equal(shares, m.shares[i]) || !slices.Equal(to, m.to[i]) {
				t.Fatalf("route %d: %v to %v, want %v to %v", i, shares, to, m.shares[i], m.to[i])
			}
		}
	})
}

// All hundredths of a percent come through Consul's 32-bit weights unharmed.
func TestWeightsAreExact(t *testing.T) {
	var k compiler
	for want := range 10001 {
		weight, err := json.Marshal(float32(want) / 100)
		if err != nil {
			t.Fatal(err)
		}
		var read float64
		if err := json.Unmarshal(weight, &read); err != nil {
			t.Fatal(err)
		}
		got := k.weight(read, "")
		if want == 0 && got != -1 || want > 0 && int(math.Round(got*100)) != want || want > 0 && got != float64(want)/100 {
			t.Errorf("%s became %v, want %d hundredths", weight, got, want)
		}
	}
	if len(k.faults) > 0 {
		t.Error(k.err())
	}
	if k.weight(math.NaN(), ""); len(k.faults) != 1 {
		t.Error("NaN was let by")
	}
}
