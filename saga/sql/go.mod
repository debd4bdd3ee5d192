module github.com/innermesh/innermesh/saga/sql

go 1.26.7

require (
	github.com/innermesh/innermesh v0.0.0
	github.com/lib/pq v1.12.3
	go.uber.org/goleak v1.3.0
)

require (
	github.com/google/go-cmp v0.7.0 // indirect
	golang.org/x/sync v0.25.0 // indirect
	golang.org/x/time v0.16.0 // indirect
	pgregory.net/rapid v1.3.0 // indirect
)

replace github.com/innermesh/innermesh => ../..
