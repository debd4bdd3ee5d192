package mesh

import (
	"context"
	"net/http"

	"google.golang.org/grpc"

	"github.com/innermesh/innermesh/call"
	"github.com/innermesh/innermesh/deadletter"
	"github.com/innermesh/innermesh/internal/grpcadapter"
)

// LetterSenderOptions configure what [Mesh.LetterSender] returns. The zero value
// is of use.
type LetterSenderOptions struct {
	// PrepareHTTP and PrepareGRPC are called before each sending: to put in the
	// credentials that letters do not have, as headers or outgoing metadata.
	// Default: nothing is done.
	PrepareHTTP func(req *http.Request) error
	PrepareGRPC func(ctx context.Context) (context.Context, error)
}

// LetterSender sends letters again, or for the first time, through the mesh: with
// its breakers, limits and budgets, over HTTP and gRPC, each with its own key. It
// is what a [deadletter.Redriver] and a [deadletter.Outbox] of this program need.
// Call it once: each has connections of its own.
//
// Of a gRPC letter the bytes are sent as they are, so that the program need not
// know the message. OK is a delivery. INVALID_ARGUMENT, NOT_FOUND,
// ALREADY_EXISTS, PERMISSION_DENIED, FAILED_PRECONDITION, OUT_OF_RANGE and
// UNAUTHENTICATED blame the request and park the letter; all other codes are a
// failed sending. For HTTP see [deadletter.HTTPSender].
func (m *Mesh) LetterSender(o LetterSenderOptions) deadletter.Sender {
	return deadletter.Senders{
		call.HTTP.String(): deadletter.HTTPSender{Client: m.HTTPClient(), Prepare: o.PrepareHTTP},
		call.GRPC.String(): &grpcadapter.LetterSender{
			Connect: func(service string) (*grpc.ClientConn, error) { return m.GRPCClient(service) },
			Prepare: o.PrepareGRPC,
		},
	}
}

// GRPCLetter makes a letter of a gRPC call, for [deadletter.Outbox.Enqueue].
// method is "/package.Service/Method" and request a protobuf message. The
// metadata are those that ctx would send; an idempotency-key among them, or else
// the Key in its [call.Options], becomes the letter's.
func GRPCLetter(ctx context.Context, service, method string, request any) (deadletter.Letter, error) {
	return grpcadapter.NewLetter(ctx, service, method, "", request)
}
