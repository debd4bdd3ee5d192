package main

import (
	"strings"
	"testing"
)

func TestSaga(t *testing.T) {
	var out strings.Builder
	if err := run(t.Context(), &out); err != nil {
		t.Errorf("%v\n%s", err, &out)
	}
	for _, want := range []string{
		"order-1: completed", "in the shop: reserve, charge, ship",
		"order-2: compensated (charge: ", "the card is declined", "reserve  undone", "in the shop: reserve, release",
		"order-3: paid, and nobody knows", "order-3: completed",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the output does not show %q:\n%s", want, &out)
		}
	}
	if n := strings.Count(out.String(), "in the shop: reserve, charge, ship\n"); n != 2 {
		t.Errorf("%d orders were paid once, want 2:\n%s", n, &out)
	}
}
