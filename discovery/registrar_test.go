package discovery

import (
	"strings"
	"testing"
)

func TestRegistrationValidate(t *testing.T) {
	good := Registration{Service: "web", Instance: Instance{ID: "1", Address: "10.0.0.1:80", Region: "eu", Zone: "eu-1"}}
	if err := good.Validate(); err != nil {
		t.Errorf("a good one: %v", err)
	}
	bad := Registration{Instance: Instance{Address: "nowhere", Weight: -1, Zone: "eu-1"}, TTL: -1, DeregisterAfter: -1, CheckInterval: -1}
	err := bad.Validate()
	for _, part := range []string{"Service:", "Instance:", "Instance.Weight:", "without a Region", "TTL:", "DeregisterAfter:", "CheckInterval:"} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%v does not name %s", err, part)
		}
	}
	if _, err := new(Memory).Register(t.Context(), bad); err == nil || !strings.Contains(err.Error(), "without a Region") {
		t.Errorf("in memory: %v", err)
	}
}
