package grpcadapter

import (
	"context"
	"net/http"
	"strings"

	"google.golang.org/grpc/metadata"

	"github.com/innermesh/innermesh/internal/route"
)

// facts are what routes may ask of a call. It is a [route.Request].
type facts struct {
	ctx     context.Context // the caller's
	service string
	method  string
	sent    metadata.MD // what the caller sends, once somebody has asked
	asked   bool
}

// Line implements [route.Request].
func (f *facts) Line() (method, path string) { return http.MethodPost, f.method }

// HeaderValue implements [route.Request]. To Envoy the parts of the first line
// are headers, too.
func (f *facts) HeaderValue(name route.Name) (value string, ok bool) {
	switch name.Lower {
	case "host", ":authority":
		return f.service, true
	case ":method", ":path":
		method, path := f.Line()
		if name.Lower == ":method" {
			return method, true
		}
		return path, true
	}
	if !f.asked {
		f.sent, _ = metadata.FromOutgoingContext(f.ctx)
		f.asked = true
	}
	values := f.sent[name.Lower]
	if len(values) == 1 {
		return values[0], true
	}
	return strings.Join(values, ","), len(values) > 0
}

// QueryValue implements [route.Request]; gRPC has no query.
func (f *facts) QueryValue(string) (value string, ok bool) { return "", false }
