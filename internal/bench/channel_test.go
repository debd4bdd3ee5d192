package bench

import (
	"encoding/json"
	"fmt"
	"testing"

	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/connectivity"
	estats "google.golang.org/grpc/experimental/stats"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/serviceconfig"
)

// channel is what a balancer of grpc-go needs of its channel, with connections
// that are ready at once and never carry anything.
type channel struct {
	balancer.ClientConn
	balancer balancer.Balancer
	config   serviceconfig.LoadBalancingConfig
	picker   balancer.Picker
	events   []func() // told when nobody holds a lock
}

func newChannel(tb testing.TB, name string, n int) *channel {
	tb.Helper()
	builder := balancer.Get(name)
	c := &channel{}
	if parser, ok := builder.(balancer.ConfigParser); ok {
		config, err := parser.ParseConfig(json.RawMessage(`{}`))
		if err != nil {
			tb.Fatal(err)
		}
		c.config = config
	}
	c.balancer = builder.Build(c, balancer.BuildOptions{Target: resolver.Target{}})
	tb.Cleanup(c.balancer.Close)
	c.update(tb, n)
	if _, err := c.picker.Pick(balancer.PickInfo{}); err != nil {
		tb.Fatalf("%s with %d endpoints: %v", name, n, err)
	}
	return c
}

// update tells the balancer of n endpoints and lets it connect.
func (c *channel) update(tb testing.TB, n int) {
	tb.Helper()
	var state resolver.State
	for i := range n {
		address := resolver.Address{Addr: fmt.Sprintf("10.0.%d.%d:80", i/256, i%256)}
		state.Addresses = append(state.Addresses, address)
		state.Endpoints = append(state.Endpoints, resolver.Endpoint{Addresses: []resolver.Address{address}})
	}
	if err := c.balancer.UpdateClientConnState(balancer.ClientConnState{ResolverState: state, BalancerConfig: c.config}); err != nil {
		tb.Fatal(err)
	}
	for len(c.events) > 0 {
		event := c.events[0]
		c.events = c.events[1:]
		event()
	}
}

func (c *channel) NewSubConn(_ []resolver.Address, o balancer.NewSubConnOptions) (balancer.SubConn, error) {
	return &connection{channel: c, listen: o.StateListener}, nil
}
func (c *channel) UpdateState(s balancer.State)          { c.picker = s.Picker }
func (c *channel) ResolveNow(resolver.ResolveNowOptions) {}
func (c *channel) Target() string                        { return "test" }
func (c *channel) MetricsRecorder() estats.MetricsRecorder {
	return noMetrics{}
}

type noMetrics struct {
	estats.UnimplementedMetricsRecorder
}

type connection struct {
	balancer.SubConn
	channel *channel
	listen  func(balancer.SubConnState)
}

func (s *connection) Connect() {
	s.channel.events = append(s.channel.events, func() {
		s.listen(balancer.SubConnState{ConnectivityState: connectivity.Connecting})
		s.listen(balancer.SubConnState{ConnectivityState: connectivity.Ready})
	})
}

func (s *connection) RegisterHealthListener(listen func(balancer.SubConnState)) {
	s.channel.events = append(s.channel.events, func() {
		listen(balancer.SubConnState{ConnectivityState: connectivity.Ready})
	})
}

func (s *connection) Shutdown() {
	s.channel.events = append(s.channel.events, func() {
		s.listen(balancer.SubConnState{ConnectivityState: connectivity.Shutdown})
	})
}

func (s *connection) UpdateAddresses([]resolver.Address) {}
