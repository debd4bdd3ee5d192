package mesh

import (
	"fmt"
	"strings"
	"time"

	"github.com/innermesh/innermesh/balancer"
	"github.com/innermesh/innermesh/breaker"
	"github.com/innermesh/innermesh/discovery"
	"github.com/innermesh/innermesh/internal/admin"
	"github.com/innermesh/innermesh/internal/cluster"
)

// adminInstance tells of an instance what becomes of it, and why.
func adminInstance(i *cluster.Inspection, now time.Time, onlyPassing bool) admin.Instance {
	d := i.Instance
	a := admin.Instance{
		ID: d.ID, Address: d.Address, Weight: max(d.Weight, 1), Health: d.Health.String(), Node: d.Node,
		Distance: distances[i.Distance], Place: strings.Trim(d.Region+"/"+d.Zone, "/"),
		Inflight: i.Inflight, Attempts: i.Attempts, Failures: i.Failures,
		P50: admin.Span(i.P50), P99: admin.Span(i.P99), Expected: admin.Span(i.Expected),
		Breaker: admin.Breaker{State: "off"},
	}
	if a.Place == "" {
		a.Place = d.Datacenter
	}
	if i.Guarded {
		a.Breaker = admin.Breaker{
			State: i.Breaker.String(), Since: i.Since, Probe: i.Probe, Judged: i.Judged, Failures: i.Wrong, Window: admin.Span(i.Window),
		}
	}
	a.State, a.Tone, a.Why, a.Out = standing(i, now, onlyPassing)
	return a
}

// distances are those of package balancer in words.
var distances = [balancer.Distances]string{
	balancer.SameZone: "near", balancer.SameRegion: "other zone", balancer.SameDatacenter: "other region", balancer.Elsewhere: "elsewhere",
}

// standing says what becomes of an instance: in a word, how good that is, why, and
// whether it is kept out by this process's own act.
func standing(i *cluster.Inspection, now time.Time, onlyPassing bool) (state string, tone admin.Tone, why string, out bool) {
	switch {
	case i.Instance.Health == discovery.Critical:
		return "critical", admin.Warn, "discovery says so", false
	case i.Instance.Health == discovery.Warning && onlyPassing:
		return "not called", admin.Warn, "its health is warning, and only passing ones are wanted", false
	case !i.Called:
		return "not in subset", admin.Idle, "other copies of this program call it", false
	}
	ejected := i.Ejected.Until.After(now)
	switch {
	case ejected:
		state, tone, why, out = "ejected", admin.Bad, ejection(i.Ejected, now), true
	case i.Breaker == breaker.Open:
		state, tone, out = "breaker open", admin.Bad, true
		why = fmt.Sprintf("since %s, next probe in %v", i.Since.Format(time.TimeOnly), max(i.Probe.Sub(now), 0).Round(time.Second))
		if i.Judged > 0 {
			why = fmt.Sprintf("%d of %d failed; ", i.Wrong, i.Judged) + why
		}
	case i.Breaker == breaker.HalfOpen:
		state, tone, why, out = "probing", admin.Warn, "its breaker lets a few calls in to try", true
	case i.WarmUntil.After(now):
		whole, done := i.WarmUntil.Sub(i.WarmSince), now.Sub(i.WarmSince)
		return "slow start", admin.OK, fmt.Sprintf("%.0f %% of its share, all in %v",
			100*min(max(done.Seconds()/whole.Seconds(), 0.1), 1), i.WarmUntil.Sub(now).Round(time.Second)), false
	case i.Instance.Health == discovery.Warning:
		return "serving", admin.Warn, "its health is warning", false
	default:
		return "serving", admin.OK, "", false
	}
	if i.Spared {
		return "spared", admin.Warn, "called all the same, since too few others are left: " + state + ", " + why, true
	}
	return state, tone, why, out
}

// causes are those of package breaker in words.
var causes = map[breaker.Cause]string{
	breaker.FailuresInRow: "failed several times in a row", breaker.GatewayInRow: "failed several times in a row at a gateway",
	breaker.FailureShare: "too many failures", breaker.SuccessRate: "succeeds less often than the others",
	breaker.FailedProbe: "failed again when it came back",
}

func ejection(e cluster.EjectionStatus, now time.Time) string {
	text := fmt.Sprintf("%s; since %s, back in %v", causes[e.Cause], e.At.Format(time.TimeOnly), e.Until.Sub(now).Round(time.Second))
	if e.Times > 1 {
		text += fmt.Sprintf(" (%d. time)", e.Times)
	}
	return text
}
