package sql_test

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	_ "github.com/lib/pq"
	"go.uber.org/goleak"
)

// requireEnv turns the skip of a test without PostgreSQL into a failure when it
// is "1". CI sets it.
const requireEnv = "INNERMESH_REQUIRE_ENGINES"

// programs is where PostgreSQL's are, "" if nowhere.
var programs = find()

// socket is the folder in which the package's server listens.
var socket string

func TestMain(m *testing.M) {
	if dsn := os.Getenv(crashDSN); dsn != "" {
		os.Exit(crashChild(dsn))
	}
	goleak.VerifyTestMain(withServer{m})
}

// find looks where Debian has PostgreSQL's programs, which are not all in PATH.
func find() string {
	if path, err := exec.LookPath("postgres"); err == nil {
		if _, err := exec.LookPath("initdb"); err == nil {
			return filepath.Dir(path)
		}
	}
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if len(found) == 0 {
		return ""
	}
	return filepath.Dir(slices.Max(found))
}

// withServer runs the tests beside a server of their own.
type withServer struct{ m *testing.M }

func (w withServer) Run() int {
	if programs == "" {
		return w.m.Run()
	}
	stop, err := start()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer stop()
	return w.m.Run()
}

// start starts a server that listens on a socket alone, so that there is no port
// that another could take. It ends when its standard input does: also when the
// tests are killed.
func start() (stop func(), err error) {
	dir, err := os.MkdirTemp("", "pg") // a socket's name must be short
	if err != nil {
		return nil, err
	}
	remove := func() { os.RemoveAll(dir) }
	as, err := servant(dir)
	if err != nil {
		remove()
		return nil, err
	}
	socket = dir
	data := filepath.Join(dir, "data")
	initdb := exec.Command(filepath.Join(programs, "initdb"), "-D", data, "-U", "saga", "-A", "trust", "-E", "UTF8", "--no-sync")
	initdb.SysProcAttr, initdb.Dir = as, dir
	if out, err := initdb.CombinedOutput(); err != nil {
		remove()
		return nil, fmt.Errorf("initdb: %w\n%s", err, out)
	}
	cmd := exec.Command("sh", "-c", `"$@" >"$0" 2>&1 & cat; kill -QUIT $!; wait`, filepath.Join(dir, "log"), filepath.Join(programs, "postgres"),
		"-D", data, "-k", dir, "-c", "listen_addresses=", "-c", "fsync=off", "-c", "max_connections=50")
	cmd.SysProcAttr, cmd.Dir = as, dir
	stdin, err := cmd.StdinPipe()
	if err != nil {
		remove()
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		remove()
		return nil, err
	}
	stop = func() {
		stdin.Close()
		_ = cmd.Wait() // how a killed server ends says nothing
		remove()
	}
	db, err := sql.Open("postgres", dsn())
	if err != nil {
		stop()
		return nil, err
	}
	defer db.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for {
		if err = db.PingContext(ctx); err == nil {
			return stop, nil
		}
		retry := time.NewTimer(20 * time.Millisecond)
		select {
		case <-retry.C:
		case <-ctx.Done():
			log, _ := os.ReadFile(filepath.Join(dir, "log"))
			stop()
			return nil, fmt.Errorf("postgres is not ready: %w\n%s", err, log)
		}
	}
}

// servant lets somebody else than root run the server, which root may not.
func servant(dir string) (*syscall.SysProcAttr, error) {
	if os.Getuid() != 0 {
		return &syscall.SysProcAttr{}, nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		return nil, fmt.Errorf("root may not run PostgreSQL: %w", err)
	}
	uid, err := strconv.Atoi(u.Uid)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.Atoi(u.Gid)
	if err != nil {
		return nil, err
	}
	if err := os.Chown(dir, uid, gid); err != nil {
		return nil, err
	}
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}, nil
}

func dsn() string { return "host=" + socket + " user=saga dbname=postgres sslmode=disable" }

// database returns the package's database, or skips the test.
func database(t testing.TB) *sql.DB {
	t.Helper()
	if programs == "" {
		const how = "no PostgreSQL: install it, on Debian with `apt-get install postgresql`"
		if os.Getenv(requireEnv) == "1" {
			t.Fatal(how)
		}
		t.Skip(how)
	}
	db, err := sql.Open("postgres", dsn())
	if err != nil {
		t.Fatal(err)
	}
	db.SetMaxOpenConns(8)
	t.Cleanup(func() { db.Close() })
	return db
}
