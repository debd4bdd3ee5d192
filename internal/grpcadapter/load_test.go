package grpcadapter

import (
	"math"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
)

// double is a field of a report.
func double(field protowire.Number, v float64) string {
	return string(protowire.AppendFixed64(protowire.AppendTag(nil, field, protowire.Fixed64Type), math.Float64bits(v)))
}

// What servers write is read, and what others write; what is odd says nothing.
func TestUtilization(t *testing.T) {
	named := string(protowire.AppendString(protowire.AppendTag(nil, 8, protowire.BytesType), "\n\x01x"))
	for name, test := range map[string]struct {
		report string
		want   float64
	}{
		"ours":            {loadReport(0.42), 0.42},
		"idle":            {loadReport(0), leastUtilization},
		"both":            {double(fieldCPU, 0.3) + named + loadReport(0.42) + double(2, 1), 0.42},
		"the other way":   {loadReport(0.42) + double(fieldCPU, 0.3), 0.42},
		"processor alone": {double(fieldCPU, 0.3), 0.3},
		"not a number":    {loadReport(math.NaN()), 0},
		"negative":        {loadReport(-1), 0},
		"endless":         {loadReport(math.Inf(1)), 0},
		"cut":             {loadReport(0.42)[:5], 0},
		"nothing":         {"", 0},
		"text":            {"TEXT application_utilization=0.42", 0},
	} {
		if got := utilization(test.report); got != test.want {
			t.Errorf("%s: %v, want %v", name, got, test.want)
		}
	}
}

func FuzzUtilization(f *testing.F) {
	f.Add(loadReport(0.42))
	f.Add(double(fieldCPU, 0.3) + double(2, 1))
	f.Fuzz(func(t *testing.T, report string) {
		if u := utilization(report); u != 0 && !(u >= leastUtilization && u <= mostUtilization) {
			t.Errorf("%q: %v", report, u)
		}
	})
}
