package consul

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
)

// NamesDatacenter says whether a query for dc asks for a datacenter by name,
// which may be another than the agent's own. Empty means that of the options.
func (c *Client) NamesDatacenter(dc string) bool { return dc != "" || c.datacenter != "" }

// Datacenter returns the name of the agent's own datacenter. It asks until it
// has been told once.
func (c *Client) Datacenter(ctx context.Context) (string, error) {
	c.mu.Lock()
	known := c.localDC
	c.mu.Unlock()
	if known != "" {
		return known, nil
	}
	dc, err := c.askDatacenter(ctx)
	if err != nil {
		return "", fmt.Errorf("ask for the agent's datacenter: %w", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.localDC = dc
	return dc, nil
}

// askDatacenter reads the agent's own word, which needs agent:read. Without that
// permission it takes the nearest of all datacenters, which needs none.
func (c *Client) askDatacenter(ctx context.Context) (string, error) {
	self, err := c.Get(ctx, "/v1/agent/self", nil)
	if err == nil {
		var told struct {
			Config struct {
				Datacenter string `json:"Datacenter"`
			} `json:"Config"`
		}
		if err := json.Unmarshal(self.Body, &told); err != nil || told.Config.Datacenter == "" {
			return "", fmt.Errorf("/v1/agent/self: %w", ErrMalformed)
		}
		return told.Config.Datacenter, nil
	}
	if !errors.Is(err, ErrPermission) {
		return "", err
	}
	all, err := c.Get(ctx, "/v1/catalog/datacenters", url.Values{})
	if err != nil {
		return "", err
	}
	var nearestFirst []string
	if err := json.Unmarshal(all.Body, &nearestFirst); err != nil || len(nearestFirst) == 0 {
		return "", fmt.Errorf("/v1/catalog/datacenters: %w", ErrMalformed)
	}
	return nearestFirst[0], nil
}
