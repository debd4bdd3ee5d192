package httpadapter

// headerLoad is how an answer tells how much its instance carries: a report in the
// text form of ORCA, as Envoy and others read it.
const headerLoad = "Endpoint-Load-Metrics"

// tellLoad adds to the answer how much this program carries, if that is known.
func (v *visit) tellLoad() {
	if v.values[1] = v.server.LoadText(); v.values[1] != "" {
		v.w.Header()[headerLoad] = v.values[1:2:2]
	}
}
