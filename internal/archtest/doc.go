// Package archtest holds the rules of the house as tests: which room may import
// which, who may use which dependency, that documentation is there and true,
// that no test sleeps. It has no code of its own.
//
// The tables are in rooms_test.go and doors_test.go; docs/architecture.md draws
// the picture. Every check is a function over a file system, so that each is
// also run on a small house that breaks it.
package archtest
