package parity_test

import (
	"context"

	"github.com/innermesh/innermesh/internal/consultest"
	"github.com/innermesh/innermesh/internal/parity"
)

// compile makes of a running Consul what innermesh does with a question. It
// must fail where a scenario says so. Nil as long as there is nothing to compare:
// then the scenarios show that the oracle is right.
//
// The subject's Upstream says everything with Envoy's meaning: no path condition
// is the prefix "/", no timeout is 0, a single leg weighs 10000, and names of
// headers are in lower case. Keys of clusters are those of [parity.Key].
var compile func(ctx context.Context, consul *consultest.Agent, q parity.Question) (parity.Subject, error)

// except are the fields in which innermesh differs, with the reason. Each is a
// line in docs/consul-parity.md.
var except = map[string]string{}
