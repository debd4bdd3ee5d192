package parity_test

import (
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/innermesh/innermesh/internal/parity"
	"github.com/innermesh/innermesh/policy"
)

// difference is a row of the table in docs/consul-parity.md: something that is
// not here as in a sidecar, and is meant.
type difference struct {
	what, sidecar, here, why string
	// unsaid: it is a default, for what nobody has said.
	unsaid bool
	// settable: a program can make it as in a sidecar with options.
	settable bool
	// fields are where the scenarios meet it, and how it looks there. Without
	// any it is not to be seen in a plan.
	fields map[string]func(sidecar, here any) bool
	// matters says whether it changes anything in what was asked; nil: always.
	matters func(u *parity.Upstream) bool
}

// differences are all of them.
func differences() []difference {
	type fields = map[string]func(sidecar, here any) bool
	limit := exactly(uint32(1024), uint32(parity.Unlimited))
	standard := parity.Ejection{
		Consecutive5xx: 5, Enforcing: 100, Interval: parity.Duration(10 * time.Second), BaseTime: parity.Duration(30 * time.Second), MaxPercent: 10,
	}
	off := standard
	off.BaseTime = 0
	return []difference{
		{
			what: "`LoadBalancer`, unsaid", sidecar: "`round_robin`", here: "`peak_ewma`", unsaid: true, settable: true,
			why:    "who answers sooner gets more, and one that is slow or fails at once is left alone",
			fields: fields{"Level.Balancer": exactly(parity.Balancer{Policy: "round_robin"}, parity.Balancer{Policy: "peak_ewma"})},
		},
		{
			what: "`ConnectTimeout`, unsaid", sidecar: "5s", here: "1s", unsaid: true, settable: true,
			why:    "another instance is tried sooner; Consul does not tell 5s that somebody wrote from 5s that nobody did",
			fields: fields{"Level.ConnectTimeout": exactly(parity.Duration(5*time.Second), parity.Duration(time.Second))},
		},
		{
			what: "`Limits`, unsaid", sidecar: "1024 of each", here: "none", unsaid: true, settable: true,
			why:    "a limit that nobody chose fails calls on the day of the most calls",
			fields: fields{"Limits.Connections": limit, "Limits.Pending": limit, "Limits.Requests": limit},
		},
		{
			what: "`PassiveHealthCheck`, unsaid", sidecar: "ejection after 5 failures for 30s, at most 10 %", here: "a breaker for each instance", unsaid: true, settable: true,
			why:    "a breaker lets single calls through to see whether the instance is back, and needs no siblings",
			fields: fields{"Level.Ejection": exactly(standard, off)},
		},
		{
			what: "retries, unsaid", sidecar: "none", here: "two, where it is safe", unsaid: true, settable: true,
			why:    "an instance that goes away should not cost a call",
			fields: fields{"Route.Retry": builtInRetry, "Decision.Retry": builtInRetry},
		},
		{
			what: "the time of one try, where `RequestTimeout` is unsaid", sidecar: "the whole 15s", here: "half of them", unsaid: true, settable: true,
			why:    "so that there is time for another try; with a `RequestTimeout` it is as in a sidecar",
			fields: fields{"Retry.PerTry": exactly(parity.Duration(0), parity.Duration(7500*time.Millisecond))},
		},
		{
			what: "retries under way", sidecar: "3 at once", here: "a budget of a fifth of all calls", unsaid: true,
			why:    "3 are too many for some services and too few for others; no config entry says anything about it",
			fields: fields{"Limits.Retries": exactly(uint32(3), uint32(parity.Unlimited))},
		},
		{
			what: "all levels of a failover below 50 % healthy", sidecar: "they share calls by their numbers of instances",
			here:   "they share calls by their parts that are healthy",
			why:    "a sidecar fails the calls that it shares out to a level where nobody is healthy",
			fields: fields{"Cluster.PanicThreshold": exactly(50.0, 0.0)}, matters: panics,
		},
		{
			what: "the server name, where a chain says nothing about routing", sidecar: "`<service>.default.<dc>.internal.<trust domain>`", here: "the service", unsaid: true,
			why: "only mesh gateways look at it; a chain without routes leaves those of lower layers",
			fields: fields{"TLS.SNI": func(sidecar, here any) bool {
				return here == "" && strings.Contains(sidecar.(string), ".internal.")
			}},
		},
		{
			what: "`TLS` of the mesh entry", sidecar: "versions and ciphers", here: "TLS 1.2 to 1.3 with Go's ciphers",
			why: "not read: Go keeps the list of what is safe, and its versions can be set where certificates are",
			fields: fields{
				"TLS.MinVersion": exactly("TLSv1_2", ""), "TLS.MaxVersion": exactly("TLSv1_2", ""),
				"TLS.Ciphers": exactly[[]string]([]string{"ECDHE-ECDSA-AES128-GCM-SHA256"}, nil),
			},
		},
		{
			what: "`Protocol` grpc", sidecar: "for itself", here: "as http2",
			why:    "it is the program that knows whether it makes calls of gRPC",
			fields: fields{"Upstream.Protocol": exactly("grpc", "http2")},
		},
		{
			what: "weights of instances above 128", sidecar: "128", here: "as they are",
			why:    "what somebody has registered counts; the bound is Envoy's",
			fields: fields{"Endpoint.Weight": exactly(uint32(128), uint32(1000))},
		},
		{
			what: "an instance behind a sidecar", sidecar: "its sidecar is called", here: "it is called itself",
			why:    "calls that have no certificate of Consul's CA would be turned away there",
			fields: fields{"Level.Endpoints": besideSidecars},
		},
		{
			what: "`Config` of an upstream in a proxy's registration", sidecar: "wins", here: "`Options.Pinned`",
			why: "there is no such proxy here; the scenarios say in options what it would say",
		},
		{
			what: "what `RequestTimeout` bounds", sidecar: "the answer to its end", here: "over HTTP the answer to its header, of a gRPC stream nothing",
			why: "an answer that is long in coming is not a slow one; `IdleTimeout` bounds its silence",
		},
		{
			what: "retries of what is not idempotent", sidecar: "as the conditions say", here: "only if nothing was carried out",
			why: "[decision 10](decisions/0010-unsafe-methods-are-retried-only-when-unsent-or-keyed.md)",
		},
		{
			what: "ejection by the rate of success", sidecar: "always on, from 5 instances with 100 calls each in an interval", here: "none",
			why: "breakers count each instance's rate",
		},
		{
			what: "limits where there is failover", sidecar: "for each level", here: "for all levels together, those of the first",
			why: "a call is let in once, and its tries may go to any level",
		},
		{
			what: "retries where there is failover, on a route straight to a resolver", sidecar: "on the same level",
			here: "on the next level when two instances of one, or all, gave no answer",
			why:  "when all of a level die at once, a call should not spend its tries there",
		},
		{
			what: "shares of the levels of a failover", sidecar: "in whole percents", here: "exact",
			why: "it is within one percent",
		},
		{
			what: "which instance a hash means", sidecar: "by Envoy's ring or table of addresses, however busy", here: "by the instance's ID; the next one if it has half as many calls again as the others",
			why: "keys move less, and a popular one does no harm; a sidecar and a program send the same key to different instances",
		},
		{
			what: "`HashPolicies` with `SourceIP`", sidecar: "the address that the caller's connection comes from, which is the same on every machine",
			here: "the program and its machine", why: "so that callers are told apart",
		},
		{
			what: "`BaseEjectionTime` of 0", sidecar: "out until the next sweep", here: "never out",
			why: "nobody is ejected for no time",
		},
		{
			what: "`MaxEjectionPercent` that is less than one instance", sidecar: "nobody is ever ejected, with newer Envoys", here: "one may be",
			why: "the default of 10 would do nothing for services of fewer than ten",
		},
		{
			what: "an instance that is new, or back from ejection", sidecar: "has its whole share at once", here: "has it after 30s",
			why: "cold instances are slow",
		},
		{
			what: "`%` in the value of a header", sidecar: "a format of Envoy's, as `%DOWNSTREAM_REMOTE_ADDRESS%`", here: "as it is written",
			why: "Consul does not say that it is one, and none of what it stands for is known here",
		},
		{
			what: "headers `x-envoy-*` of a caller", sidecar: "set timeouts and retries", here: "are sent on",
			why: "a program has the context and the options of its calls",
		},
	}
}

// exactly allows these two values.
func exactly[T any](sidecar, here T) func(sidecar, here any) bool {
	return func(s, h any) bool { return reflect.DeepEqual(s, any(sidecar)) && reflect.DeepEqual(h, any(here)) }
}

// builtInRetry allows that of [policy.Default] where nothing is said.
func builtInRetry(sidecar, here any) bool {
	on := []string{"connect-failure", "gateway-error", "refused-stream", "reset", "unavailable"}
	s, h := sidecar.(*parity.Retry), here.(*parity.Retry)
	return s == nil && h != nil && h.Num == 2 && slices.Equal(h.On, on) && len(h.Statuses) == 0
}

// besideSidecars allows the instances themselves, which in [parity.Scenario]s
// have ports 1000 below those of their sidecars.
func besideSidecars(sidecar, here any) bool {
	own := slices.Clone(sidecar.([]parity.Endpoint))
	behind := false
	for i, e := range own {
		if host, port, _ := strings.Cut(e.Address, ":"); strings.HasPrefix(port, "90") {
			own[i].Address, behind = host+":80"+port[2:], true
		}
	}
	slices.SortFunc(own, func(a, b parity.Endpoint) int { return strings.Compare(a.Address, b.Address) })
	return behind && slices.Equal(own, here.([]parity.Endpoint))
}

// panics says whether calls are shared otherwise because of panic thresholds.
func panics(u *parity.Upstream) bool {
	for _, c := range u.Clusters {
		calm := c
		calm.PanicThreshold = 0
		if parity.Diff(c.Shares(), calm.Shares()) != "" {
			return true
		}
	}
	return false
}

// met is which differences a scenario has met.
type met struct {
	mu   sync.Mutex
	what map[string]bool
}

// except are the differences as a comparison takes them; settable ones are left
// out if set.
func (m *met) except(set bool) (list []parity.Exception) {
	m.what = map[string]bool{}
	for _, d := range differences() {
		if set && d.settable {
			continue
		}
		for field, allowed := range d.fields {
			list = append(list, parity.Exception{Field: field, Allowed: func(sidecar, here any) bool {
				if !allowed(sidecar, here) {
					return false
				}
				m.mu.Lock()
				defer m.mu.Unlock()
				m.what[d.what] = true
				return true
			}})
		}
	}
	return list
}

// page is the documentation after a heading.
func page(t *testing.T, heading string) string {
	t.Helper()
	text, err := os.ReadFile("../../docs/consul-parity.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(string(text), "\n## "+heading+"\n")
	if !found {
		t.Fatalf("docs/consul-parity.md has no section %q", heading)
	}
	section, _, _ = strings.Cut(section, "\n## ")
	return section
}

// sidecarDefaults are those in the documentation.
func sidecarDefaults(t *testing.T) policy.Service {
	t.Helper()
	_, block, _ := strings.Cut(page(t, "Differences"), "```yaml\n")
	block, _, _ = strings.Cut(block, "```")
	s, err := policy.Decode([]byte(block), "docs/consul-parity.md")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// The table in the documentation is the one here.
func TestDifferencesAreDocumented(t *testing.T) {
	t.Parallel()
	rows := []string{"| what | a sidecar | here | why |", "|---|---|---|---|"}
	for _, d := range differences() {
		rows = append(rows, "| "+strings.Join([]string{d.what, d.sidecar, d.here, d.why}, " | ")+" |")
	}
	var table []string
	for line := range strings.Lines(page(t, "Differences")) {
		if strings.HasPrefix(line, "|") {
			table = append(table, strings.TrimSuffix(line, "\n"))
		}
	}
	if !slices.Equal(table, rows) {
		t.Errorf("the table in docs/consul-parity.md is not that of differences(), which is:\n%s", strings.Join(rows, "\n"))
	}
}
