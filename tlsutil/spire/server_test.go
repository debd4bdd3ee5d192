package spire_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/innermesh/innermesh/internal/consultest"
)

const (
	domain = "spire.internal"
	host   = "spiffe://" + domain + "/host"
)

// binaries is the folder of SPIRE's server and agent, which `make spire` builds.
func binaries(t *testing.T) string {
	t.Helper()
	gomod, err := os.ReadFile("../../tools/spire/go.mod")
	if err != nil {
		t.Fatal(err)
	}
	pin := regexp.MustCompile(`(?m)^\s*(?:require\s+)?github\.com/spiffe/spire (v\S+)`).FindSubmatch(gomod)
	if pin == nil {
		t.Fatal("tools/spire/go.mod does not require github.com/spiffe/spire")
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(cache, "innermesh", "spire-"+string(pin[1]))
	for _, name := range []string{"spire-server", "spire-agent"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			if os.Getenv("INNERMESH_REQUIRE_SPIRE") == "1" {
				t.Fatal(err)
			}
			t.Skipf("no SPIRE: run `make spire`, which builds it once (about 10 minutes) and runs this test: %v", err)
		}
	}
	return dir
}

// lab is a SPIRE server and an agent on this machine.
type lab struct {
	t             *testing.T
	bin, dir      string
	port          int
	server, agent func() // each kills its process
	token         string
}

func newLab(t *testing.T) *lab {
	t.Helper()
	bin := binaries(t)
	dir, err := os.MkdirTemp("", "spire-") //nolint:usetesting // the path of a socket must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	l := &lab{t: t, bin: bin, dir: dir, port: freePort(t)}
	l.startServer()
	l.token = strings.TrimSpace(strings.TrimPrefix(l.ask("token", "generate", "-spiffeID", host), "Token:"))
	l.startAgent()
	return l
}

func (l *lab) startServer() {
	l.t.Helper()
	l.write("server.conf", fmt.Sprintf(`
server { bind_address = "127.0.0.1" bind_port = "%d" socket_path = "%[2]s/server.sock" trust_domain = "%[3]s" data_dir = "%[2]s/server" log_level = "INFO" }
plugins {
  DataStore "sql" { plugin_data { database_type = "sqlite3" connection_string = "%[2]s/server.sqlite3" } }
  NodeAttestor "join_token" { plugin_data {} }
  KeyManager "disk" { plugin_data { keys_path = "%[2]s/server.keys" } }
}`, l.port, l.dir, domain))
	l.server = l.run("spire-server", "server.conf")
	l.await("the server", "spire-server", "server.sock")
}

func (l *lab) startAgent() {
	l.t.Helper()
	l.write("agent.conf", fmt.Sprintf(`
agent { data_dir = "%[1]s/agent" log_level = "INFO" server_address = "127.0.0.1" server_port = "%[2]d" socket_path = "%[1]s/agent.sock" trust_domain = "%[3]s" insecure_bootstrap = true join_token = "%[4]s" }
plugins {
  NodeAttestor "join_token" { plugin_data {} }
  KeyManager "disk" { plugin_data { directory = "%[1]s/agent" } }
  WorkloadAttestor "unix" { plugin_data {} }
}`, l.dir, l.port, domain, l.token))
	l.agent = l.run("spire-agent", "agent.conf")
	l.await("the agent", "spire-agent", "agent.sock")
}

// socket is where the Workload API is.
func (l *lab) socket() string { return "unix://" + l.dir + "/agent.sock" }

// entry gives this process an identity.
func (l *lab) entry(service string, ttl time.Duration) {
	l.t.Helper()
	l.ask("entry", "create", "-parentID", host, "-spiffeID", "spiffe://"+domain+"/ns/default/dc/dc1/svc/"+service,
		"-selector", "unix:uid:"+strconv.Itoa(os.Getuid()), "-x509SVIDTTL", strconv.Itoa(int(ttl.Seconds())))
}

// ask runs one of the server's commands and returns what it prints.
func (l *lab) ask(command ...string) string {
	l.t.Helper()
	cmd := exec.CommandContext(l.t.Context(), filepath.Join(l.bin, "spire-server"),
		append(command, "-socketPath", filepath.Join(l.dir, "server.sock"))...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		l.t.Fatalf("spire-server %s: %v\n%s", strings.Join(command, " "), err, out)
	}
	return string(out)
}

func (l *lab) write(name, text string) {
	l.t.Helper()
	if err := os.WriteFile(filepath.Join(l.dir, name), []byte(text), 0o600); err != nil {
		l.t.Fatal(err)
	}
}

// run starts a program, which ends with the test or when it is killed.
func (l *lab) run(program, config string) (kill func()) {
	l.t.Helper()
	path := filepath.Join(l.dir, program+".log")
	log, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		l.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, filepath.Join(l.bin, program), "run", "-config", filepath.Join(l.dir, config))
	cmd.Stdout, cmd.Stderr = log, log
	consultest.DieWithParent(cmd)
	started, ended := make(chan error, 1), make(chan struct{})
	go func() {
		defer close(ended)
		defer log.Close()
		runtime.LockOSThread() // the child's end is tied to its thread
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // killed
		}
	}()
	kill = func() { cancel(); <-ended }
	l.t.Cleanup(func() {
		kill()
		if l.t.Failed() {
			text, _ := os.ReadFile(path)
			l.t.Logf("%s:\n%s", program, text[max(0, len(text)-4000):])
		}
	})
	if err := <-started; err != nil {
		l.t.Fatal(err)
	}
	return kill
}

// await polls: a program that starts has nothing to wait on.
func (l *lab) await(what, program, socket string) {
	l.t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(time.Minute)
	for {
		cmd := exec.CommandContext(l.t.Context(), filepath.Join(l.bin, program), "healthcheck", "-socketPath", filepath.Join(l.dir, socket))
		out, err := cmd.CombinedOutput()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			l.t.Fatalf("%s does not come up: %v\n%s", what, err, out)
		}
	}
}

func freePort(t *testing.T) int {
	t.Helper()
	for range 100 {
		port := 20000 + rand.IntN(12000)
		if listener, err := net.Listen("tcp4", "127.0.0.1:"+strconv.Itoa(port)); err == nil {
			_ = listener.Close()
			return port
		}
	}
	t.Fatal("no free port")
	return 0
}
