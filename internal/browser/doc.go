// Package browser has tests only: the live page in a real browser. It is a module of
// its own, so that nobody who uses the library ever downloads what drives one.
package browser
