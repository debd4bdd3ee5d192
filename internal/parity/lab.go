package parity

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/hashicorp/consul/api"

	"github.com/innermesh/innermesh/internal/consultest"
)

// Lab is where scenarios are played: a Consul, and perhaps another datacenter.
type Lab struct {
	dc1, dc2 *api.Client
}

// NewLab returns one for these agents. dc2 may be nil; else the two must be
// joined.
func NewLab(dc1, dc2 *consultest.Agent) (*Lab, error) {
	l := &Lab{}
	var err error
	if l.dc1, err = dc1.Client(); err != nil {
		return nil, err
	}
	if dc2 != nil {
		l.dc2, err = dc2.Client()
	}
	return l, err
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
	for _, e := range s.Entries {
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
			return undo, fmt.Errorf("%s: write %s %s: %w", s.Name, head.Kind, head.Name, err)
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
