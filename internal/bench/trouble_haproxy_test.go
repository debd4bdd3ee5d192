//go:build linux

package bench

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// proxy starts haproxy before the fleet, and returns its address.
func proxy(t *testing.T, f *fleet, protocol string) string {
	t.Helper()
	binary, err := exec.LookPath("haproxy")
	if err != nil {
		if binary, err = exec.LookPath("/usr/sbin/haproxy"); err != nil {
			t.Skip("there is no haproxy: run make engines")
		}
	}
	at := unused(t)
	file := filepath.Join(t.TempDir(), "haproxy.cfg")
	if err := os.WriteFile(file, []byte(proxyConfig(f, protocol, at)), 0o600); err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	cmd := exec.Command(binary, "-db", "-f", file)
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-ended
	})
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for range 250 {
		if c, err := net.Dial("tcp", at); err == nil {
			_ = c.Close()
			return at
		}
		select {
		case err := <-ended:
			ended <- err
			t.Fatalf("haproxy has ended: %v\n%s", err, said.String())
		case <-tick.C:
		}
	}
	t.Fatal("haproxy does not listen")
	return ""
}

// proxyConfig is haproxy with checks, and with retries elsewhere of whatever can
// be retried.
func proxyConfig(f *fleet, protocol, at string) string {
	bind, server, check := "", "check inter 500ms fastinter 250ms rise 2 fall 2 observe layer7 error-limit 5 on-error mark-down",
		"option httpchk GET /check"
	if protocol == "gRPC" {
		bind, server, check = "proto h2", "proto h2 "+strings.Replace(server, "observe layer7", "observe layer4", 1), ""
	}
	var b strings.Builder
	fmt.Fprintf(&b, `global
	maxconn 4000
defaults
	mode http
	balance leastconn
	timeout connect 100ms
	timeout client 30s
	timeout server 250ms
	timeout check 250ms
	retries 3
	option redispatch 1
	retry-on all-retryable-errors
	http-reuse always
	%s
frontend in
	bind %s %s
	default_backend web
backend web
`, check, at, bind)
	for i, a := range f.addrs {
		fmt.Fprintf(&b, "\tserver s%d %s %s\n", i, a, server)
	}
	return b.String()
}

// unused is an address nobody listens on.
func unused(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
