//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package bolt

import (
	"os"
	"syscall"
)

// unlock takes bbolt's lock off a file and closes it. Closing alone does not do:
// the file is still mapped to memory, and that keeps the lock.
func unlock(file *os.File) {
	if file == nil {
		return
	}
	_ = syscall.Flock(int(file.Fd()), syscall.LOCK_UN) // the caller gets the error that matters
	_ = file.Close()
}
