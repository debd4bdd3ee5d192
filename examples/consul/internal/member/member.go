// Package member makes a server a member of the mesh: it has an identity, says in
// Consul where it is, and takes its leave before it ends.
package member

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"syscall"

	"github.com/innermesh/innermesh/mesh"
	"github.com/innermesh/innermesh/tlsutil"
)

// Main is the main function of a service. It serves until SIGTERM or Ctrl-C.
func Main(service string, serving mesh.Serving) {
	dir := flag.String("tls", "", "folder with the identity: tls.crt, tls.key, ca.crt")
	id := flag.String("id", "", "name of this instance (default service, host name and port)")
	flag.Parse()
	log.SetPrefix(service + ": ")
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, service, *id, *dir, serving)
	stop()
	if err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, service, id, dir string, serving mesh.Serving) error {
	identity, err := tlsutil.NewFiles(tlsutil.FilesOptions{Dir: dir})
	if err != nil {
		return err
	}
	defer identity.Close()
	m, err := mesh.New(ctx, mesh.Options{
		Service: service, // Consul by the CONSUL_* variables
		TLS:     mesh.TLSOptions{Source: identity, Authorize: tlsutil.AuthorizeService("checkout")},
	})
	if err != nil {
		return err
	}
	var at mesh.Listening
	serving.Addr, serving.Registration.ID = "127.0.0.1:0", id
	serving.Listening = func(l mesh.Listening) { at = l }
	serving.Announced = func(*mesh.Registered) { fmt.Printf("%s serves at %s\n", cmp.Or(id, service), at.Addr) }
	err = m.Serve(ctx, serving)
	return errors.Join(err, m.Close(context.WithoutCancel(ctx)))
}
