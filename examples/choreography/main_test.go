package main

import (
	"strings"
	"testing"
)

func TestChoreography(t *testing.T) {
	var out strings.Builder
	if err := run(t.Context(), &out); err != nil {
		t.Fatal(err)
	}
	const want = `order-1
    stock: reserved lamp
    payments: charged
    orders: confirmed
order-2
    stock: reserved chair
    payments: declined
    stock: released chair
    orders: canceled
`
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", &out, want)
	}
}
