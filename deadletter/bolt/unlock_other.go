//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package bolt

import "os"

// unlock closes a file that bbolt has left open. Its lock may stay until the
// process ends.
func unlock(file *os.File) {
	if file != nil {
		_ = file.Close() // the caller gets the error that matters
	}
}
