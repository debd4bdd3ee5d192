package tcp

import (
	"net"
	"syscall"
	"time"
)

// SetUnacked bounds how long what was sent on a connection may go unacknowledged
// before the system gives it up: the dead peer is found by this and by
// keep-alive together, which the dialer sets. It does nothing where the system
// has no such setting (all but Linux), for d of 0 and less, and for connections
// that are not the system's own.
func SetUnacked(c net.Conn, d time.Duration) error {
	s, ok := c.(syscall.Conn)
	if !ok || d <= 0 {
		return nil
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return err
	}
	if _, tcp := c.RemoteAddr().(*net.TCPAddr); !tcp {
		return nil
	}
	var failed error
	if err := raw.Control(func(fd uintptr) { failed = setUnacked(fd, d) }); err != nil {
		return err
	}
	return failed
}
