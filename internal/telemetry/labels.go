package telemetry

import "go.opentelemetry.io/otel/attribute"

// Label says what a label of metrics may hold.
type Label struct {
	Key attribute.Key
	// Values says which there are, and what bounds their number.
	Values string
}

// Labels returns all labels of metrics. Paths, addresses, identifiers and texts
// of errors are never among their values.
func Labels() []Label {
	return []Label{
		{attrSource, "this program, by mesh.Options.Service: the one that calls, or that serves where calls come in"},
		{attrService, "the service that is called, by its logical name"},
		{attrDestination, "the service whose instances are called: another one where a route, a redirect or a failover leads there"},
		{attrSubset, "the subset of the destination, if calls go to one"},
		{attrRoute, "the route's name, or its number if it has none; not there for a service without routes. " + other +
			" after the 100th combination of route, destination and subset"},
		{attrServer, "the same as `innermesh.service`, which the conventions demand under this name"},
		{attrMethod, "the HTTP method, `" + other + "` if it is none of the known ones"},
		{attrPattern, "the pattern of `http.ServeMux` that the path has matched, without the method; not there if none has"},
		{attrStatus, "the HTTP status; not there without an answer"},
		{attrRPCSystem, "`grpc`"},
		{attrRPCMethod, "the full gRPC method, as the program's stubs name it"},
		{attrRPCStatus, "the gRPC status by name"},
		{attrError, "what failed: the HTTP status from 400 on (of calls that came in: from 500 on), the gRPC status but OK " +
			"(of those: only what is the server's fault), or the reason where there was no answer; not there if nothing did"},
		{attrProtocol, "`http` or `grpc`"},
		{attrReason, "of attempts and retries: `ok` `throttled` `unavailable` `gateway` `faulty` `unreachable` `refused` `reset` `try_timeout` " +
			"`expired` `canceled` `rejected`" +
			"; of refused retries: `budget` `time` `unsafe` `nested` `attempts` `pushback`" +
			"; of calls that were turned away: `overload` `full` `rate` `too_late` `unauthenticated` `denied` `leaving`" +
			"; of refused peers: see [tls.md](tls.md)" +
			"; of decisions about access: `intention` `permission` `token` `default_policy` `no_rules_are_known` " +
			"`foreign_trust_domain` `ambiguous_path` `permissions_need_requests` `not_supported` `no_token` " +
			"`bad_token` `claims_of_the_token` `anonymous`"},
		{attrRole, "the end that refused: `server` or `client`"},
		{attrKind, "`first`, `retry` or `hedge`"},
		{attrInjected, "the injection's name in the policy"},
		{attrLimit, "`concurrency` `keyed` `connections` `rate` `adaptive`"},
		{attrState, "of instances: `callable` `critical` `ejected` `open` (the breaker is) " +
			"`unused` (not in this program's part of a large service)" +
			"; of breakers: `closed` `open` `half-open`; of connections: `active` `idle`"},
		{attrSubject, "what the source tells of: `instances` or `policies`"},
		{attrCause, "the ejection's: `failures_in_row` `gateway_failures_in_row` `failure_share` `success_rate` `failed_probe`"},
		{attrResult, "of policy documents: `applied` `refused`" +
			"; of copies for a mirror: a reason, or `full` (as many as may be are under way), " +
			"`body` (it is too long, or was not sent to its end), `kind` (a stream can not be copied), `closed` (the service is let go)" +
			"; of guarded requests: see [idempotency.md](idempotency.md)" +
			"; of decisions about access: `allow` `deny`, and `dry_run` for a refusal that was only told"},
	}
}
