package main

import (
	"strings"
	"testing"
	"time"
)

func TestQuickstart(t *testing.T) {
	var out strings.Builder
	if err := run(t.Context(), &out, 4*time.Second); err != nil {
		t.Errorf("%v\n%s", err, &out)
	}
	for _, want := range []string{"inventory-3", "payments-3", " 0 failed", "retries", "ejections"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the output does not show %q:\n%s", want, &out)
		}
	}
}
