package mesh

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/innermesh/innermesh/call"
	"github.com/innermesh/innermesh/inbound/intention"
	"github.com/innermesh/innermesh/internal/consul"
	"github.com/innermesh/innermesh/policy"
	"github.com/innermesh/innermesh/tlsutil"
)

// outlook knows what the services that are called will say: it follows their
// intentions from the first call on.
type outlook struct {
	m      *Mesh
	client *consul.Client
	judges sync.Map // service to *intention.Judge
	mu     sync.Mutex
}

// here is our trust domain, whatever its name: of others nothing is known.
const here = "here.invalid"

// openOutlook returns what says no to calls, nil if nothing does.
func (m *Mesh) openOutlook() (func(to *policy.Target, method, path string) error, error) {
	if !m.o.CheckCalls {
		return nil, nil //nolint:nilnil // it is no fault
	}
	client, err := m.consulClient()
	if err != nil {
		return nil, err
	}
	return (&outlook{m: m, client: client}).permit, nil
}

func (o *outlook) permit(to *policy.Target, method, path string) error {
	if to.Peer != "" || to.Namespace != "" || to.Partition != "" {
		return nil // their rules are not ours to read
	}
	judge := o.judge(to.Service)
	if judge == nil {
		return nil
	}
	us := tlsutil.ServiceID{TrustDomain: here, Service: o.m.o.Service}
	d := judge.Decide(us, &intention.Request{Method: method, Path: path})
	if d.Allowed || !certain(d, path) {
		return nil
	}
	return fmt.Errorf("%w: %s", call.ErrDenied, d.Rule())
}

// certain says whether the callee must come to the same: by the intention alone,
// or by permissions that look at nothing but what is known here.
func certain(d intention.Decision, path string) bool {
	switch d.Reason {
	case intention.ByIntention:
		return true
	case intention.ByPermission:
		return !slices.ContainsFunc(d.Intention.Permissions[:d.Permission], func(p intention.Permission) bool {
			return len(p.HTTP.Header) > 0 || path == "" && (p.HTTP.PathExact != "" || p.HTTP.PathPrefix != "" || p.HTTP.PathRegex != "")
		})
	default:
		return false
	}
}

// judge returns who knows of a service, nil if nobody can.
func (o *outlook) judge(service string) *intention.Judge {
	if j, ok := o.judges.Load(service); ok {
		return j.(*intention.Judge)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if j, ok := o.judges.Load(service); ok {
		return j.(*intention.Judge)
	}
	judge, err := intention.NewJudge(intention.Options{
		Service: service, TrustDomain: here, Default: intention.Allow, WithoutRules: intention.Allow,
	}, o.m.log)
	if err != nil {
		return nil
	}
	if _, err := o.client.Go(func(ctx context.Context) { _ = judge.Follow(ctx, o.client, nil) }); err != nil { // it ends with the client
		return nil
	}
	o.judges.Store(service, judge)
	return judge
}
