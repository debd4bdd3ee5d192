// Package admin is the live page: what the process is doing and why, as HTML for
// people and as JSON for programs. It knows nothing of the mesh: all that it shows
// comes from functions that it is given.
//
// HTML is made here, with templates and assets that are embedded; the script on
// the page only replaces what has changed, sorts, filters and draws the graph.
// Without it the page still tells everything.
package admin
