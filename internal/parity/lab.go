package parity

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/innermesh/innermesh/internal/consultest"
)

// Lab is where scenarios are played: two datacenters.
type Lab struct {
	dc1, dc2 *api.Client
}

// NewLab joins the two and returns when the first sees the services of the
// second.
func NewLab(ctx context.Context, dc1, dc2 *consultest.Agent) (*Lab, error) {
	l := &Lab{}
	var err error
	if l.dc1, err = dc1.Client(); err != nil {
		return nil, err
	}
	if l.dc2, err = dc2.Client(); err != nil {
		return nil, err
	}
	return l, l.join(ctx)
}

func (l *Lab) join(ctx context.Context) error {
	self, err := l.dc1.Agent().Self()
	if err != nil {
		return fmt.Errorf("join datacenters: %w", err)
	}
	port, ok := self["DebugConfig"]["SerfPortWAN"].(float64)
	if !ok {
		return errors.New("join datacenters: the first does not say on which port")
	}
	if err := l.dc2.Agent().Join("127.0.0.1:"+strconv.Itoa(int(port)), true); err != nil {
		return fmt.Errorf("join datacenters: %w", err)
	}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		entries, _, err := l.dc1.Health().Service("consul", "", true, (&api.QueryOptions{Datacenter: "dc2"}).WithContext(ctx))
		if err == nil && len(entries) == 1 {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("wait for the second datacenter: %w", errors.Join(context.Cause(ctx), err))
		}
	}
}

// Play writes what s says. undo removes it all and must be called, even after
// an error: [api.StatusError] if Consul refused an entry.
func (l *Lab) Play(ctx context.Context, s Scenario) (undo func() error, err error) {
	var done []func() error
	undo = func() error {
		var errs []error
		for _, f := range slices.Backward(done) {
			errs = append(errs, f())
		}
		return errors.Join(errs...)
	}
	// What is written goes even when ctx has ended.
	clean := context.WithoutCancel(ctx)
	for i, in := range s.Instances {
		reg := s.registration(i)
		client := l.dc1
		if in.Datacenter == "dc2" {
			client = l.dc2
		}
		if err := client.Agent().ServiceRegisterOpts(reg, api.ServiceRegisterOpts{}.WithContext(ctx)); err != nil {
			return undo, fmt.Errorf("%s: register %s: %w", s.Name, reg.ID, err)
		}
		done = append(done, func() error {
			return client.Agent().ServiceDeregisterOpts(reg.ID, (&api.QueryOptions{}).WithContext(clean))
		})
	}
	for i, e := range s.Entries {
		text := s.spell(e)
		var head struct {
			Kind string `json:"Kind"`
			Name string `json:"Name"`
		}
		if err := json.Unmarshal([]byte(text), &head); err != nil {
			return undo, fmt.Errorf("%s: entry %s: %w", s.Name, text, err)
		}
		_, err := l.dc1.Raw().Write("/v1/config", json.RawMessage(text), nil, (&api.WriteOptions{}).WithContext(ctx))
		if err != nil {
			return undo, fmt.Errorf("%s: write entry %d of %d, %s %s: %w", s.Name, i+1, len(s.Entries), head.Kind, head.Name, err)
		}
		if head.Name == "" {
			head.Name = head.Kind // "mesh" has no other name
		}
		done = append(done, func() error {
			_, err := l.dc1.ConfigEntries().Delete(head.Kind, head.Name, (&api.WriteOptions{}).WithContext(clean))
			return err
		})
	}
	return undo, nil
}

func (s Scenario) registration(i int) *api.AgentServiceRegistration {
	in := s.Instances[i]
	health := in.Health
	if health == "" {
		health = api.HealthPassing
	}
	reg := &api.AgentServiceRegistration{
		ID: s.name(in.Service) + "-" + strconv.Itoa(i), Name: s.name(in.Service), Tags: in.Tags,
		Address: "127.0.0.1", Port: 8001 + i,
		Connect: &api.AgentServiceConnect{Native: true},
		Weights: &api.AgentWeights{Passing: weight(in.Passing), Warning: weight(in.Warning)},
		Check:   &api.AgentServiceCheck{TTL: "1h", Status: health},
	}
	if in.Sidecar {
		reg.Connect = &api.AgentServiceConnect{SidecarService: &api.AgentServiceRegistration{
			Address: reg.Address, Port: reg.Port + 1000, Weights: reg.Weights, Check: reg.Check,
		}}
	}
	if host, port, ok := strings.Cut(in.WAN, ":"); ok {
		n, _ := strconv.Atoi(port) // the table is checked by being played
		reg.TaggedAddresses = map[string]api.ServiceAddress{"wan": {Address: host, Port: n}}
	}
	if in.Version != "" {
		reg.Meta = map[string]string{"version": in.Version}
	}
	return reg
}

func weight(w int) int {
	switch w {
	case 0:
		return 1
	case -1:
		return 0
	default:
		return w
	}
}
