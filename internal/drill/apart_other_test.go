//go:build !linux

package drill

import "syscall"

// apart is nil: there are no network namespaces.
func apart() *syscall.SysProcAttr { return nil }
