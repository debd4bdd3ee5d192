// Package breaker keeps calls away from what keeps failing. A [Breaker] is
// closed while all is well, opens when failures pile up, and after a rest lets
// a few probes decide whether it closes again; it is built on gobreaker's
// two-step breaker with rolling buckets and looks at what it guards alone.
// [Outliers] looks at the instances of a service together, and ejects those that
// do worse than the others for a while, but never too many.
package breaker
