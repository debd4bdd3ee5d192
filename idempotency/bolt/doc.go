// Package bolt is an idempotency store in a file (go.etcd.io/bbolt): what it
// knows outlives the process. One process has the file at a time, so that what a
// dead one was carrying out may be taken over as soon as the next has opened it.
package bolt
