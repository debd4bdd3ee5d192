package route

import (
	"testing"

	"github.com/innermesh/innermesh/policy"
)

func TestKey(t *testing.T) {
	k := NewKey([]string{"x-tenant", policy.ByAffinity, policy.ByPriority})
	same := k.Of(get("GET /", "X-Tenant: a"), "session", "critical")
	for what, other := range map[string]string{
		"tenant":   k.Of(get("GET /", "X-Tenant: b"), "session", "critical"),
		"affinity": k.Of(get("GET /", "X-Tenant: a"), "other", "critical"),
		"priority": k.Of(get("GET /", "X-Tenant: a"), "session", "default"),
		"border":   k.Of(get("GET /", "X-Tenant: as"), "ession", "critical"),
	} {
		if other == same {
			t.Errorf("another %s makes the same key %q", what, same)
		}
	}
	if got := k.Of(get("POST /", "X-Tenant: a"), "session", "critical"); got != same {
		t.Errorf("the same call makes %q and %q", same, got)
	}
	if got := NewKey(nil).Of(get("GET /"), "session", "critical"); got != "" {
		t.Errorf("no names make the key %q", got)
	}
}
