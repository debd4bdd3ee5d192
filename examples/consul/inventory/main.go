// Inventory tells over HTTP what is left. It is an ordinary server; what makes it
// a member of the mesh is in package member.
package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"time"

	"github.com/innermesh/innermesh/examples/consul/internal/member"
)

func main() { member.Main("inventory", serve) }

func serve(l net.Listener, config *tls.Config) (shutdown func(context.Context) error) {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /items/{id}", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "item %s: 3 left\n", r.PathValue("id"))
	})
	server := &http.Server{Handler: mux, TLSConfig: config, ReadHeaderTimeout: time.Second}
	go func() {
		if err := server.ServeTLS(l, "", ""); !errors.Is(err, http.ErrServerClosed) {
			log.Fatal(err)
		}
	}()
	return server.Shutdown
}
