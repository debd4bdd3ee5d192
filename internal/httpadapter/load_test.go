package httpadapter

import (
	"strings"
	"testing"
)

// What servers write is read, and what others write; what is odd says nothing.
func TestUtilization(t *testing.T) {
	for report, want := range map[string]float64{
		"TEXT application_utilization=0.42":                                     0.42,
		"TEXT cpu_utilization=0.3,application_utilization=0.42, mem=1":          0.42,
		"TEXT application_utilization=0.42,cpu_utilization=0.3":                 0.42,
		"TEXT cpu_utilization=0.3":                                              0.3,
		"TEXT application_utilization=0":                                        leastUtilization,
		"TEXT application_utilization=1.5":                                      1.5,
		"TEXT application_utilization=-1":                                       0,
		"TEXT application_utilization=NaN":                                      0,
		"TEXT application_utilization=Inf":                                      0,
		"TEXT application_utilization=lots":                                     0,
		"TEXT named_metrics.x=1":                                                0,
		`JSON {"application_utilization": 0.5}`:                                 0,
		"":                                                                      0,
		"TEXT application_utilization=0.4," + strings.Repeat("x=1,", maxReport): 0,
	} {
		if got := utilization([]string{report}); got != want {
			t.Errorf("%.60q: %v, want %v", report, got, want)
		}
	}
	if got := utilization([]string{"TEXT cpu_utilization=0.3", "TEXT cpu_utilization=0.3"}); got != 0 {
		t.Errorf("said twice: %v", got)
	}
}

func FuzzUtilization(f *testing.F) {
	f.Add("TEXT application_utilization=0.42,cpu_utilization=0.3")
	f.Add("TEXT =,=,application_utilization")
	f.Fuzz(func(t *testing.T, report string) {
		if u := utilization([]string{report}); u != 0 && !(u >= leastUtilization && u <= mostUtilization) {
			t.Errorf("%q: %v", report, u)
		}
	})
}
