// Package bench measures, in its benchmarks, what this library does beside what
// others do, in one run on one machine. It is a module of its own, so that
// nobody who imports the library downloads its rivals.
package bench
