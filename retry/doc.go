// Package retry decides whether a call that did not go well is tried again, and
// when: [Policy] weighs safety, attempts, time and the [Budget], which keeps all
// retries to a destination within a share of its live traffic.
package retry
