// Package consul turns what operators tell Consul about calls to a service into
// layers of [policy]: the compiled discovery chain (service-router,
// service-splitter, service-resolver), the upstream configuration of the calling
// service (service-defaults, proxy-defaults), and what those can not say, written
// beside them under a prefix.
//
// [Source.Watch] follows all of it for one called service and tells the layers as
// they change. A bad state never takes the place of a good one: its mistakes are
// told, each with the name of the field, and what was good stays.
//
// What is supported, what is refused and what is ignored for which reason is in
// docs/consul-parity.md.
package consul
