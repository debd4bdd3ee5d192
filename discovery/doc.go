// Package discovery says where services run. A [Source] tells of the instances
// of a service, one whole [Snapshot] at a time; a [Registrar] makes an instance
// known to others. [Static] is a fixed list and [Memory] a registry inside the
// process; discovery/consul speaks to Consul.
package discovery
