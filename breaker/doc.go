// Package breaker keeps calls away from what keeps failing. A [Breaker] is
// closed while all is well, opens when failures pile up, and after a rest lets
// a few probes decide whether it closes again. It is built on gobreaker's
// two-step breaker with rolling buckets.
package breaker
