// Package redis is an idempotency store in Redis, for programs that run on many
// machines. It is a module of its own, so that others need not have a client.
//
// Each operation is one hash that Redis forgets by itself when its time is over;
// each question is one script, and the times are those of the Redis server. So
// clocks of the programs need not agree.
//
// What Redis loses is lost: with asynchronous replication the last outcomes in a
// failover, without persistence all of them in a restart, and with an eviction
// policy what it evicts. Use maxmemory-policy noeviction: a full Redis then says
// so, which is [idempotency.ErrFull].
package redis
