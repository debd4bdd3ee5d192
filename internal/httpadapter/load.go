package httpadapter

import (
	"strconv"
	"strings"
)

// headerLoad is how an answer tells how much its instance carries: a report in the
// text form of ORCA, as Envoy and others read it.
const headerLoad = "Endpoint-Load-Metrics"

// tellLoad adds to the answer how much this program carries, if that is known.
func (v *visit) tellLoad() {
	if v.values[1] = v.server.LoadText(); v.values[1] != "" {
		v.w.Header()[headerLoad] = v.values[1:2:2]
	}
}

// utilization reads how much of what it can carry an instance says it carries, 0 if
// it does not say: of ORCA's text form application_utilization, else
// cpu_utilization. What can not be read says nothing.
func utilization(values []string) (u float64) {
	if len(values) != 1 {
		return 0
	}
	report, is := strings.CutPrefix(values[0], "TEXT ")
	if !is || len(report) > maxReport {
		return 0
	}
	for metric := range strings.SplitSeq(report, ",") {
		name, text, _ := strings.Cut(strings.TrimSpace(metric), "=")
		if name != "application_utilization" && (name != "cpu_utilization" || u > 0) {
			continue
		}
		if v, err := strconv.ParseFloat(text, 64); err == nil && v >= 0 && v <= mostUtilization {
			u = max(v, leastUtilization)
		}
	}
	return u
}

const (
	maxReport        = 4 << 10
	mostUtilization  = 1000  // more is no utilization
	leastUtilization = 0.001 // to say nothing is something else
)
