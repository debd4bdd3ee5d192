// Package consul is discovery by a Consul agent: a [Source] that watches the
// health of services, and a [Registrar] that keeps instances registered however
// often the agent forgets them.
//
// An instance is identified by its node's name and its service ID, because a
// service ID is unique on its node only. Where it is comes from the locality of
// its service, else of its node, else from the node's meta keys "region" and
// "zone".
package consul
