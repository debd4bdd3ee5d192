package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/innermesh/innermesh/tlsutil"
)

// programs are the folders beside this file.
var programs = []string{"inventory", "payments", "checkout"}

// perService is how many instances of each service there are.
const perService = 3

// shop is the programs that run.
type shop struct {
	out     io.Writer
	dir     string   // of the programs and their identities
	env     []string // tells the programs where Consul is
	servers []*process
}

// open runs the shop for a while, with the agent of Consul at that address, and
// returns when every program has ended.
func open(ctx context.Context, out io.Writer, consul string, duration time.Duration) error {
	// The kernel ties the programs to the thread that starts them.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()

	dir, err := os.MkdirTemp("", "innermesh-demo-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	s := &shop{out: &console{w: out}, dir: dir, env: environment(consul)}
	if err := s.furnish(ctx); err != nil {
		return err
	}

	working, goodbye := context.WithCancel(ctx)
	defer goodbye()
	err = s.hire(working)
	if err == nil {
		err = s.trade(working, duration)
	}
	goodbye()
	for _, p := range s.servers {
		err = errors.Join(err, p.wait())
	}
	if err == nil {
		fmt.Fprintln(s.out, "the others have left Consul and ended")
	}
	return err
}

// furnish builds the programs and writes an identity for each.
func (s *shop) furnish(ctx context.Context) error {
	ca, err := tlsutil.NewDevCA(tlsutil.DevCAOptions{})
	if err != nil {
		return err
	}
	args := []string{"build", "-buildvcs=false", "-o", s.dir + string(filepath.Separator)}
	for _, name := range programs {
		if _, err := ca.WriteFiles(s.identity(name), name); err != nil {
			return err
		}
		args = append(args, "github.com/innermesh/innermesh/examples/consul/"+name)
	}
	build := exec.CommandContext(ctx, "go", args...)
	build.Env = append(os.Environ(), "GOTMPDIR="+s.dir) // nothing stays if it is interrupted
	if said, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build the programs: %w\n%s", err, said)
	}
	return nil
}

// hire starts the servers, and returns when each has registered itself.
func (s *shop) hire(ctx context.Context) error {
	for _, service := range []string{"inventory", "payments"} {
		for i := range perService {
			id := fmt.Sprintf("%s-%d", service, i+1)
			p, err := s.start(ctx, id, service, "-id", id)
			if err != nil {
				return err
			}
			s.servers = append(s.servers, p)
		}
	}
	late := time.After(30 * time.Second)
	for _, p := range s.servers {
		select {
		case <-p.spoken:
		case <-late:
			return fmt.Errorf("%s has not registered within half a minute", p.name)
		case <-p.ended:
			return fmt.Errorf("%s has ended before it served", p.name)
		}
	}
	return nil
}

// trade lets checkout call the servers, and kills one of each service half-way.
func (s *shop) trade(ctx context.Context, duration time.Duration) error {
	fmt.Fprintf(s.out, "checkout calls them for %v\n", duration)
	checkout, err := s.start(ctx, "checkout", "checkout", "-for", duration.String())
	if err != nil {
		return err
	}
	half := time.NewTimer(duration / 2)
	defer half.Stop()
	select {
	case <-half.C:
		for i := 0; i < len(s.servers); i += perService {
			s.servers[i].kill()
			fmt.Fprintln(s.out, s.servers[i].name, "is killed")
		}
	case <-checkout.ended:
	}
	return checkout.wait()
}

// start runs one of the programs as one of that name.
func (s *shop) start(ctx context.Context, name, program string, args ...string) (*process, error) {
	cmd := exec.CommandContext(ctx, filepath.Join(s.dir, program), append(args, "-tls", s.identity(program))...)
	cmd.Env = s.env
	if program == "checkout" {
		cmd.Stderr = s.out // what the mesh tells of the killing is worth seeing
	}
	return start(name, cmd, s.out)
}

// identity is the folder of a program's certificate.
func (s *shop) identity(program string) string { return filepath.Join(s.dir, "tls", program) }

// environment is the demo's own, but with this Consul instead of another.
func environment(consul string) []string {
	env := []string{"CONSUL_HTTP_ADDR=" + consul}
	for _, kv := range os.Environ() {
		if !strings.HasPrefix(kv, "CONSUL_") {
			env = append(env, kv)
		}
	}
	return env
}
