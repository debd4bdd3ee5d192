// Package bolt is a sink of dead letters in a file (go.etcd.io/bbolt), for one
// process at a time: the default engine. What it has acknowledged outlives the
// process and the machine's power.
package bolt
