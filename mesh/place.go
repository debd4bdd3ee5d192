package mesh

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/innermesh/innermesh/balancer"
	"github.com/innermesh/innermesh/internal/consul"
)

// place is where this program runs, as far as is known by now.
func (m *Mesh) place() balancer.Place {
	if p := m.located.Load(); p != nil {
		return *p
	}
	return balancer.Place{}
}

// locate takes the place from the options, or asks the agent, which runs on the
// same machine, until it has answered.
func (m *Mesh) locate() error {
	if m.o.Region != "" {
		m.located.Store(&balancer.Place{Datacenter: m.o.Consul.Datacenter, Region: m.o.Region, Zone: m.o.Zone})
		return nil
	}
	if m.consul == nil {
		return nil
	}
	_, err := m.consul.Go(func(ctx context.Context) {
		for wait := time.Second; ; wait = min(2*wait, time.Minute) {
			p, err := askPlace(ctx, m.consul)
			switch {
			case err == nil && p.Region != "":
				m.located.Store(&p)
				m.directory.Moved()
				m.log.Info("place learnt from the agent", "region", p.Region, "zone", p.Zone)
				return
			case err == nil, errors.Is(err, consul.ErrPermission), !pause(ctx, wait):
				return // it has none, may not tell, or is not wanted any more: all is equally near
			}
		}
	})
	return err
}

// askPlace reads the locality of the agent, or the meta keys of its node that
// stand for one.
func askPlace(ctx context.Context, client *consul.Client) (balancer.Place, error) {
	self, err := client.Get(ctx, "/v1/agent/self", nil)
	if err != nil {
		return balancer.Place{}, err
	}
	var told struct {
		Config struct {
			Datacenter string `json:"Datacenter"`
		} `json:"Config"`
		DebugConfig struct {
			Locality struct {
				Region string `json:"Region"`
				Zone   string `json:"Zone"`
			} `json:"Locality"`
		} `json:"DebugConfig"`
		Meta map[string]string `json:"Meta"`
	}
	if err := json.Unmarshal(self.Body, &told); err != nil {
		return balancer.Place{}, fmt.Errorf("/v1/agent/self: %w", consul.ErrMalformed)
	}
	return balancer.Place{
		Datacenter: told.Config.Datacenter,
		Region:     cmp.Or(told.DebugConfig.Locality.Region, told.Meta["region"]),
		Zone:       cmp.Or(told.DebugConfig.Locality.Zone, told.Meta["zone"]),
	}, nil
}

func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// seat tells this process from all others that call the same services.
func (m *Mesh) seat() uint64 {
	if m.o.Replica > 0 {
		return balancer.Seat(m.o.Replica - 1)
	}
	return balancer.Hash(m.caller() + "#" + strconv.Itoa(os.Getpid()))
}
