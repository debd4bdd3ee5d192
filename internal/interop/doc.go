// Package interop proves that the mesh speaks with programs that nobody here
// wrote: Consul's built-in proxy at either end, openssl and curl.
//
// It has tests only.
package interop
