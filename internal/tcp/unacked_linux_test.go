package tcp_test

import (
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/innermesh/innermesh/internal/tcp"
)

func TestSetUnacked(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	for d, want := range map[time.Duration]int{0: 0, -1: 0, time.Microsecond: 1, 20 * time.Second: 20_000} {
		fresh(t, c)
		if err := tcp.SetUnacked(c, d); err != nil {
			t.Fatal(err)
		}
		if got := unacked(t, c); got != want {
			t.Errorf("%v: the socket says %d ms, want %d", d, got, want)
		}
	}
	if err := tcp.SetUnacked(struct{ net.Conn }{c}, time.Second); err != nil {
		t.Errorf("a connection of somebody else's: %v", err)
	}
}

const userTimeout = 18 // TCP_USER_TIMEOUT

func fresh(t *testing.T, c net.Conn) {
	t.Helper()
	control(t, c, func(fd int) error { return syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, userTimeout, 0) })
}

func unacked(t *testing.T, c net.Conn) (ms int) {
	t.Helper()
	control(t, c, func(fd int) (err error) {
		ms, err = syscall.GetsockoptInt(fd, syscall.IPPROTO_TCP, userTimeout)
		return err
	})
	return ms
}

func control(t *testing.T, c net.Conn, f func(fd int) error) {
	t.Helper()
	raw, err := c.(syscall.Conn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var failed error
	if err := raw.Control(func(fd uintptr) { failed = f(int(fd)) }); err != nil || failed != nil {
		t.Fatal(err, failed)
	}
}
