// Package sql is a log of sagas in PostgreSQL, through database/sql and any
// driver: for many machines, each of which may run coordinators. Leases go by the
// database's clock. The times at which sagas are due come from the machines,
// whose clocks should agree to a second or so.
package sql
