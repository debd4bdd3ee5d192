package grpcadapter

import (
	"math"

	"google.golang.org/protobuf/encoding/protowire"
)

// loadTrailer is how an answer tells how much its instance carries: a report of
// ORCA, an xds.data.orca.v3.OrcaLoadReport, as gRPC and Envoy read it (gRFC A51).
const loadTrailer = "endpoint-load-metrics-bin"

// fieldUtilization is application_utilization, a double.
const fieldUtilization = 9

// loadReport writes a report that has the utilization alone.
func loadReport(utilization float64) string {
	var b [9]byte
	report := protowire.AppendTag(b[:0], fieldUtilization, protowire.Fixed64Type)
	return string(protowire.AppendFixed64(report, math.Float64bits(utilization)))
}

// utilization reads a report, as loadReport writes it or others do: of it
// application_utilization, else cpu_utilization. It is 0 if the report says neither
// or can not be read.
func utilization(report string) (u float64) {
	if len(report) > maxReport {
		return 0
	}
	for b := []byte(report); len(b) > 0; {
		field, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return 0
		}
		b = b[n:]
		if kind == protowire.Fixed64Type && (field == fieldUtilization || field == fieldCPU && u == 0) {
			bits, n := protowire.ConsumeFixed64(b)
			if n < 0 {
				return 0
			}
			if v := math.Float64frombits(bits); v >= 0 && v <= mostUtilization {
				u = max(v, leastUtilization)
			}
		}
		if n = protowire.ConsumeFieldValue(field, kind, b); n < 0 {
			return 0
		}
		b = b[n:]
	}
	return u
}

const (
	fieldCPU         = 1 // cpu_utilization, a double
	maxReport        = 4 << 10
	mostUtilization  = 1000  // more is no utilization
	leastUtilization = 0.001 // to say nothing is something else
)
