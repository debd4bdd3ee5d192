// Package bolt is a log of sagas in a file (go.etcd.io/bbolt): what it knows
// outlives the process. One process has the file at a time, so that what a dead
// one was carrying out is free as soon as the next has opened it.
package bolt
