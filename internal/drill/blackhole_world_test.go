package drill

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/interop/grpc_testing"

	"github.com/innermesh/innermesh/discovery"
	"github.com/innermesh/innermesh/mesh"
)

// places are where the instances are; the first one vanishes. The caller is at
// 127.0.0.1.
var places = [...]string{"127.0.0.2", "127.0.0.3", "127.0.0.4"}

const (
	webPort, callPort = ":8080", ":8081"
	// gone is how long nothing is heard of it: longer than an attempt may last.
	gone = 10 * time.Second
)

// hole is the caller. With all settings as they are by default it calls three
// instances, one of which vanishes.
func hole(nft string) (err error) {
	if err := command(os.Getenv(holeIPEnv), "link set lo up"); err != nil {
		return err
	}
	for _, at := range places {
		instance, err := self(holeAtEnv + "=" + at)
		if err != nil {
			return err
		}
		stdin, err := instance.StdinPipe() // its end tells the instance to leave
		if err != nil {
			return err
		}
		stdout, err := instance.StdoutPipe()
		if err != nil {
			return err
		}
		if err := instance.Start(); err != nil {
			return err
		}
		defer func() { _ = stdin.Close(); _ = instance.Wait() }()
		if !bufio.NewScanner(stdout).Scan() {
			return fmt.Errorf("the instance at %s does not serve", at)
		}
	}
	known := discovery.Static{}
	for _, at := range places {
		known["web"], known["web-grpc"] = append(known["web"], at+webPort), append(known["web-grpc"], at+callPort)
	}
	m, err := mesh.New(context.Background(), mesh.Options{
		Service: "caller", Discovery: known, Logger: slog.New(slog.NewTextHandler(os.Stderr, nil)),
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.Close(context.Background())) }()
	seen, err := vanish(m, nft)
	return errors.Join(err, json.NewEncoder(os.Stdout).Encode(seen))
}

// vanish loads the instances and has one of them vanish and return.
func vanish(m *mesh.Mesh, nft string) (seen lost, err error) {
	loads, err := loadsOf(m, "web")
	if err != nil {
		return seen, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), longest)
	defer cancel()
	var callers []*calling
	var running sync.WaitGroup
	for _, l := range loads {
		l.ended = make(chan struct{})
		callers = append(callers, &calling{load: l})
		running.Go(func() { l.run(ctx) })
	}
	pause(ctx, 2*time.Second) // connections are made, and all have answered
	for _, text := range []string{
		"add table ip hole", "add chain ip hole in { type filter hook input priority 0 ; }",
		"add rule ip hole in ip daddr " + places[0] + " drop", "add rule ip hole in ip saddr " + places[0] + " drop",
	} {
		if err := command(nft, text); err != nil {
			return seen, err
		}
	}
	began := time.Now()
	tries, last := tried(m), began
	met := tries
	for time.Since(began) < gone {
		pause(ctx, 5*time.Millisecond)
		if now := tried(m); now != tries {
			if tries = now; time.Since(last) < time.Second { // a try now and then is no rotation
				last, met = time.Now(), now
			}
		}
	}
	seen.Out, seen.Tries = last.Sub(began), tries-met
	if err := command(nft, "delete table ip hole"); err != nil {
		return seen, err
	}
	back := time.Now()
	before := []int{loads[0].from(places[0]), loads[1].from(places[0])}
	for ctx.Err() == nil && (loads[0].from(places[0]) == before[0] || loads[1].from(places[0]) == before[1]) {
		pause(ctx, 10*time.Millisecond)
	}
	seen.Back = time.Since(back)
	cancel()
	running.Wait()
	seen.Loads = reports(callers)
	for i, l := range loads {
		seen.Loads[i].Rate = l.rate()
	}
	return seen, nil
}

// tried is how many attempts have gone to the instance that vanishes.
func tried(m *mesh.Mesh) (n uint64) {
	for _, u := range m.Upstreams() {
		for _, i := range u.Instances {
			if strings.HasPrefix(i.Instance.Address, places[0]+":") {
				n += i.Attempts + uint64(i.Inflight)
			}
		}
	}
	return n
}

// command runs a program with these words.
func command(program, words string) error {
	if said, err := exec.Command(program, strings.Fields(words)...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w: %s", program, words, err, said)
	}
	return nil
}

// lonely is an instance at an address of its own, until its standard input ends.
func lonely(at string) error {
	web := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		pause(r.Context(), work)
		_, _ = io.WriteString(w, at)
	}), ReadHeaderTimeout: time.Minute}
	calls := grpc.NewServer()
	grpc_testing.RegisterTestServiceServer(calls, answering{id: at})
	for port, serve := range map[string]func(net.Listener) error{webPort: web.Serve, callPort: calls.Serve} {
		l, err := net.Listen("tcp", at+port)
		if err != nil {
			return err
		}
		go func() { _ = serve(l) }() // ends with the process
	}
	fmt.Println("serves")
	_, _ = io.Copy(io.Discard, os.Stdin)
	return nil
}
