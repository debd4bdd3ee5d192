package discovery

import (
	"fmt"
	"net"
	"strconv"

	"github.com/hashicorp/go-bexpr"
)

// Filter chooses instances by an expression in Consul's filter language, such as
//
//	Service.Meta.version == v2 and "blue" in Service.Tags
//
// It knows Service.ID, Address, Port, Tags and Meta, and Node.Node and
// Datacenter. What an instance does not have compares as not equal. A Filter is
// immutable and may be shared.
type Filter struct {
	expression *bexpr.Evaluator
}

// NewFilter reads an expression. The error says where it goes wrong.
func NewFilter(expression string) (*Filter, error) {
	e, err := bexpr.CreateEvaluator(expression, bexpr.WithMaxExpressions(maxExpressions))
	if err != nil {
		return nil, fmt.Errorf("filter %q: %w", expression, err)
	}
	return &Filter{expression: e}, nil
}

// maxExpressions bounds the work of the parser, which may try many readings.
const maxExpressions = 100_000

// filterable is an instance as the expressions see it, which is as Consul's
// health endpoints tell it.
type filterable struct {
	Service struct {
		ID      string            `bexpr:"ID"`
		Address string            `bexpr:"Address"`
		Port    int               `bexpr:"Port"`
		Tags    []string          `bexpr:"Tags"`
		Meta    map[string]string `bexpr:"Meta"`
	} `bexpr:"Service"`
	Node struct {
		Node       string `bexpr:"Node"`
		Datacenter string `bexpr:"Datacenter"`
	} `bexpr:"Node"`
}

// Match says whether the instance is chosen. The error names a part of the
// expression that no instance has.
func (f *Filter) Match(i Instance) (bool, error) {
	var d filterable
	d.Service.ID, d.Service.Tags, d.Service.Meta = i.ID, i.Tags, i.Meta
	d.Node.Node, d.Node.Datacenter = i.Node, i.Datacenter
	if host, port, err := net.SplitHostPort(i.Address); err == nil {
		d.Service.Address = host
		d.Service.Port, _ = strconv.Atoi(port) // 0 for none, which no expression means
	}
	ok, err := f.expression.Evaluate(d)
	if err != nil {
		return false, fmt.Errorf("filter %q: %w", f.expression.Expression(), err)
	}
	return ok, nil
}
