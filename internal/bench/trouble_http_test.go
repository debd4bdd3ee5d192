//go:build linux

package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"testing"
	"time"

	"github.com/bufbuild/httplb"
	"github.com/bufbuild/httplb/health"
	"github.com/bufbuild/httplb/picker"
	"github.com/bufbuild/httplb/resolver"
	"github.com/failsafe-go/failsafe-go/failsafehttp"
	"github.com/failsafe-go/failsafe-go/hedgepolicy"

	"github.com/innermesh/innermesh/discovery"
	"github.com/innermesh/innermesh/mesh"
	"github.com/innermesh/innermesh/policy"
)

// The settings that docs/performance.md recommends for a service whose calls are
// to be answered in milliseconds and can be repeated.
var careful = policy.Service{
	Timeout: policy.Timeout{Total: policy.Duration(deadline), PerTry: policy.Duration(deadline / 4)},
	Retry:   policy.Retry{Backoff: policy.Backoff{Base: policy.Off}}, // the budget keeps retries few
	Hedge:   policy.Hedge{Percentile: 99},
}

// rivals are grouped by protocol; the first of each knows who is in trouble.
func rivals() [][]rival {
	return [][]rival{
		{
			{"oracle", "HTTP", func(t *testing.T, f *fleet) func(context.Context) error {
				return askHTTP(random{transport(t), f.addrs[1:]})
			}},
			{"innermesh", "HTTP", func(t *testing.T, f *fleet) func(context.Context) error {
				return askHTTP(meshFor(t, f, policy.Service{}).Transport(nil))
			}},
			{"innermesh, hedged", "HTTP", func(t *testing.T, f *fleet) func(context.Context) error {
				return askHTTP(meshFor(t, f, careful).Transport(nil))
			}},
			{"net/http, random", "HTTP", func(t *testing.T, f *fleet) func(context.Context) error {
				return askHTTP(random{transport(t), f.addrs})
			}},
			{"httplb, checks", "HTTP", func(t *testing.T, f *fleet) func(context.Context) error {
				return askHTTP(balanced(t, f))
			}},
			{"failsafe, retry+hedge", "HTTP", func(t *testing.T, f *fleet) func(context.Context) error {
				return askHTTP(failsafe(random{transport(t), f.addrs}))
			}},
			{"httplb+failsafe", "HTTP", func(t *testing.T, f *fleet) func(context.Context) error {
				return askHTTP(failsafe(balanced(t, f)))
			}},
			{"haproxy, checks+retries", "HTTP", func(t *testing.T, f *fleet) func(context.Context) error {
				return askHTTP(random{transport(t), []string{proxy(t, f, "HTTP")}})
			}},
		},
		grpcRivals(),
	}
}

// askHTTP makes one call and reads its answer.
func askHTTP(through http.RoundTripper) func(context.Context) error {
	c := &http.Client{Transport: through}
	return func(ctx context.Context) error {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://web/", http.NoBody)
		if err != nil {
			return err
		}
		res, err := c.Do(r)
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, res.Body)
		err = errors.Join(err, res.Body.Close())
		if res.StatusCode != http.StatusOK {
			return fmt.Errorf("answered %s", res.Status)
		}
		return err
	}
}

// transport is net/http's own, with as many idle connections as it needs.
func transport(t *testing.T) *http.Transport {
	t.Helper()
	tr := &http.Transport{MaxIdleConnsPerHost: 1024, IdleConnTimeout: 90 * time.Second}
	t.Cleanup(tr.CloseIdleConnections)
	return tr
}

// random sends each request to any address.
type random struct {
	next  http.RoundTripper
	addrs []string
}

// RoundTrip implements [http.RoundTripper].
func (x random) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.URL.Host = x.addrs[rand.N(len(x.addrs))]
	return x.next.RoundTrip(r)
}

func meshFor(t *testing.T, f *fleet, p policy.Service) *mesh.Mesh {
	t.Helper()
	m, err := mesh.New(t.Context(), mesh.Options{
		Service: "caller", Logger: slog.New(slog.DiscardHandler), Discovery: discovery.Static{"web": f.addrs}, Defaults: p,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close(context.Background()) }) // nothing is registered
	return m
}

// balanced is httplb at its best: the least loaded of two, and each connection
// checked every half second.
func balanced(t *testing.T, f *fleet) http.RoundTripper {
	t.Helper()
	c := httplb.NewClient(
		httplb.WithResolver(fixed(f.addrs)), httplb.WithPicker(picker.NewPowerOfTwo),
		httplb.WithHealthChecks(health.NewPollingChecker(health.PollingCheckerConfig{
			PollingInterval: 500 * time.Millisecond, Timeout: 250 * time.Millisecond,
		}, health.NewSimpleProber("/check"))),
	)
	// It ends only with the last answer, and who retries above it leaves some unread.
	t.Cleanup(func() { go func() { _ = c.Close() }() })
	return c.Transport
}

// fixed is a resolver that always finds the same.
type fixed []string

// New implements [resolver.Resolver].
func (x fixed) New(_ context.Context, _, _ string, to resolver.Receiver, _ <-chan struct{}) io.Closer {
	var all []resolver.Address
	for _, a := range x {
		all = append(all, resolver.Address{HostPort: a})
	}
	to.OnResolve(all)
	return io.NopCloser(nil)
}

// failsafe retries at once and sends a second request after 15 ms.
func failsafe(through http.RoundTripper) http.RoundTripper {
	return failsafehttp.NewRoundTripper(through, failsafehttp.NewRetryPolicyBuilder().Build(),
		hedgepolicy.NewWithDelay[*http.Response](15*time.Millisecond))
}
