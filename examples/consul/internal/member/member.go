// Package member makes a server a member of the mesh: it has an identity, says in
// Consul where it is, and takes its leave before it ends.
package member

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/innermesh/innermesh/mesh"
	"github.com/innermesh/innermesh/tlsutil"
)

// Serve starts a server and returns what shuts it down, once the calls that are
// under way are answered or ctx ends.
type Serve func(l net.Listener, config *tls.Config) (shutdown func(ctx context.Context) error)

// Main is the main function of a service. It serves until SIGTERM or Ctrl-C.
func Main(service string, serve Serve) {
	dir := flag.String("tls", "", "folder with the identity: tls.crt, tls.key, ca.crt")
	id := flag.String("id", "", "name of this instance (default service, host name and port)")
	flag.Parse()
	log.SetPrefix(service + ": ")
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, service, *id, *dir, serve)
	stop()
	if err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, service, id, dir string, serve Serve) error {
	identity, err := tlsutil.NewFiles(tlsutil.FilesOptions{Dir: dir})
	if err != nil {
		return err
	}
	defer identity.Close()
	m, err := mesh.New(ctx, mesh.Options{Service: service}) // Consul by the CONSUL_* variables
	if err != nil {
		return err
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return errors.Join(err, m.Close(ctx))
	}
	shutdown := serve(l, tlsutil.ServerConfig(identity, tlsutil.AuthorizeService("checkout"), tlsutil.Options{}))

	at := l.Addr().(*net.TCPAddr)
	_, err = m.Register(ctx, mesh.Registration{ID: id, Address: at.IP.String(), Port: at.Port})
	if err == nil {
		fmt.Printf("%s serves at %s\n", cmp.Or(id, service), at)
		<-ctx.Done()
	}

	// First nobody new is sent here, then those who are here are served.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	return errors.Join(err, m.Close(ctx), shutdown(ctx))
}
