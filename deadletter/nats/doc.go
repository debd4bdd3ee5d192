// Package nats is a sink of dead letters in a key-value bucket of NATS JetStream,
// for many machines: any of them may put letters in, and any outbox or redriver
// send them. It is a module of its own, so that who does not use it does not
// download its client.
//
//	conn, err := natsgo.Connect(url)
//	js, err := jetstream.New(conn)
//	sink, err := nats.Open(ctx, js, nats.Options{Replicas: 3})
//
// What the server has acknowledged is as durable as its storage: it survives the
// end of the server's process at any point, but a server alone writes through the
// operating system's cache, which a loss of power can take. Replicas on other
// machines, or the server's setting sync_interval: always (2.10 and later), close
// that gap.
package nats
