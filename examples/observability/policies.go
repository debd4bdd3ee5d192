package main

// policies are what the services go by: terms of their own for each, and some
// trouble that is made on purpose, so that the dashboards have something to show.
const policies = `
defaults:
  timeout: {total: 2s, perTry: 500ms, tell: remaining}
services:
  stock:
    subsets:
      next: {filter: "Service.Meta.version == next"}
    routes:
      - {name: browse, match: {pathPrefix: /items}, to: [{weight: 90}, {weight: 10, subset: next}]}
    mirror: [{subset: next, percent: 20}]
    hedge: {after: 50ms}
    limits: {concurrency: 64, bulkhead: {max: 32, queue: 32}}
    balancer: {policy: round_robin}
    ejection: {failures: 2, base: 3s, maxPercent: 50}
    inject: [{name: drill, millionths: 20000, status: 503, until: "%s"}]
  payments:
    retry: {methods: ["/grpc.health.v1.Health/Check"]}
    breaker: {failures: 3, open: 2s}
    limits: {rate: {perSecond: 80, burst: 10, wait: 50ms}}
`

// mistaken is a document with a mistake: it is refused, and shown as such.
const mistaken = "services: {stock: {timeout: {total: soon}}}\n"
