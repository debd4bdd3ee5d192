// Package idempotencytest is the contract of [idempotency.Store]: what every
// store promises, as tests that run against any of them.
package idempotencytest
