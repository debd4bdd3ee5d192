// Package lastgood keeps on disk what was last accepted, so that a process that
// starts while its sources are down begins with that.
//
// A [Store] is a folder of files, one for each named thing. Put hands a new
// state over and returns at once; a goroutine writes it, each thing at most once
// a second. Get reads one back, or nothing: a file that is cut off, changed, too
// large, or written by another service or for another format is ignored and
// logged. A file is replaced as a whole, also when the process is killed or
// several processes use one folder: the last to write wins.
//
// The checksum finds accidents, not forgery, so the folder must be writable only
// to those who may steer the process. What is stored is readable on disk:
// callers never store a secret. The folder may be deleted at any time; what
// changes afterwards is written again.
package lastgood
