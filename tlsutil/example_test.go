package tlsutil_test

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"

	"github.com/innermesh/innermesh/tlsutil"
)

// Two services with mutual TLS and nothing but the standard library around.
func Example() {
	ca, err := tlsutil.NewDevCA(tlsutil.DevCAOptions{})
	if err != nil {
		log.Fatal(err)
	}
	inventory, err := ca.Source("inventory")
	if err != nil {
		log.Fatal(err)
	}
	web, err := ca.Source("web")
	if err != nil {
		log.Fatal(err)
	}

	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		caller, err := tlsutil.PeerID(*r.TLS)
		if err != nil {
			http.Error(w, err.Error(), http.StatusForbidden)
			return
		}
		fmt.Fprintf(w, "hello %s", caller)
	})}
	defer srv.Close()
	go srv.Serve(tls.NewListener(ln, tlsutil.ServerConfig(inventory, tlsutil.AuthorizeService("web"), tlsutil.Options{})))

	transport := &http.Transport{
		TLSClientConfig:   tlsutil.ClientConfig(web, tlsutil.AuthorizeService("inventory"), tlsutil.Options{}),
		ForceAttemptHTTP2: true, // net/http wants to be told when the TLS config is not its own
	}
	defer transport.CloseIdleConnections()
	resp, err := (&http.Client{Transport: transport}).Get("https://" + ln.Addr().String())
	if err != nil {
		log.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(string(body))
	// Output: hello spiffe://dev.internal/ns/default/dc/dc1/svc/web
}

// A child process finds its identity in a folder that its parent has filled.
func ExampleDevCA_WriteFiles() {
	dir, err := os.MkdirTemp("", "identity")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	ca, err := tlsutil.NewDevCA(tlsutil.DevCAOptions{TrustDomain: "shop.internal"})
	if err != nil {
		log.Fatal(err)
	}
	if _, err := ca.WriteFiles(dir, "payments"); err != nil {
		log.Fatal(err)
	}

	// In the child:
	files, err := tlsutil.NewFiles(tlsutil.FilesOptions{Dir: dir})
	if err != nil {
		log.Fatal(err)
	}
	defer files.Close()
	id, err := files.Identity()
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(id.ID())
	// Output: spiffe://shop.internal/ns/default/dc/dc1/svc/payments
}

// Who was refused, and who was expected, is data.
func ExamplePeerError() {
	self, _ := tlsutil.NewID("dev.internal", "ns", "default", "dc", "dc1", "svc", "web")
	peer, _ := tlsutil.NewID("dev.internal", "ns", "default", "dc", "dc1", "svc", "payments")
	err := tlsutil.AuthorizeService("inventory")(peer, self)
	if pe, ok := errors.AsType[*tlsutil.PeerError](err); ok {
		fmt.Println("met:", pe.Peer)
		fmt.Println("expected:", pe.Expected)
	}
	fmt.Println(errors.Is(err, tlsutil.ErrDenied))
	// Output:
	// met: spiffe://dev.internal/ns/default/dc/dc1/svc/payments
	// expected: service "inventory" in namespace default of trust domain dev.internal
	// true
}

func ExampleID_Service() {
	id, err := tlsutil.ParseID("spiffe://dev.internal/ns/default/dc/dc1/svc/web")
	if err != nil {
		log.Fatal(err)
	}
	service, err := id.Service()
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(service.Service, "in", service.Datacenter)
	// Output: web in dc1
}
