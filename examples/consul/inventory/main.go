// Inventory tells over HTTP what is left. It is an ordinary handler; what makes it
// a member of the mesh is in package member.
package main

import (
	"fmt"
	"net/http"

	"github.com/innermesh/innermesh/examples/consul/internal/member"
	"github.com/innermesh/innermesh/mesh"
)

func main() {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /items/{id}", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "item %s: 3 left\n", r.PathValue("id"))
	})
	member.Main("inventory", mesh.Serving{HTTP: mux})
}
