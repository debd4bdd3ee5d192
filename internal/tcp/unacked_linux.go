package tcp

import (
	"os"
	"syscall"
	"time"
)

// tcpUserTimeout is TCP_USER_TIMEOUT of linux/tcp.h, which package syscall does
// not know. The unit is a millisecond.
const tcpUserTimeout = 0x12

func setUnacked(fd uintptr, d time.Duration) error {
	ms := max(int(d.Milliseconds()), 1)
	return os.NewSyscallError("setsockopt", syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpUserTimeout, ms))
}
