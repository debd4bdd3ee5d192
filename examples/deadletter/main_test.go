package main

import (
	"strings"
	"testing"
)

const want = `The warehouse is closed:
  a chair  is kept: POST http://warehouse/orders, reason rejected, without [Authorization]
  a table  is kept: POST http://warehouse/orders, reason rejected, without [Authorization]
  a dragon is kept: POST http://warehouse/orders, reason rejected, without [Authorization]
The warehouse opens: 2 delivered, 0 failed, 1 parked
  a dragon is parked: answered with 422 Unprocessable Entity: the receiver will never accept it
  1 discarded
Two more are enqueued, and delivered when the outbox is closed
The warehouse has orders for [a chair a lamp a shelf a table]
`

func TestDeadletter(t *testing.T) {
	var out strings.Builder
	if err := run(t.Context(), &out); err != nil {
		t.Error(err)
	}
	if out.String() != want {
		t.Errorf("got:\n%s\nwant:\n%s", &out, want)
	}
}
