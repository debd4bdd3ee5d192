package route

// Request is what a match may look at. Adapters implement it; nothing is called
// that no route asks for.
type Request interface {
	// Line returns the HTTP method and the path as it goes over the wire:
	// escaped, without the query. Of gRPC they are POST and the full method.
	Line() (method, path string)
	// HeaderValue returns a header, several values joined with commas. The
	// name is in lower case.
	HeaderValue(name string) (value string, ok bool)
	// QueryValue returns the first query parameter of a name.
	QueryValue(name string) (value string, ok bool)
}
