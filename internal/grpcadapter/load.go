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
