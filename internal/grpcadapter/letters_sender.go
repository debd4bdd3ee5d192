package grpcadapter

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/innermesh/innermesh/call"
	"github.com/innermesh/innermesh/deadletter"
	"github.com/innermesh/innermesh/idempotency"
)

// LetterSender sends gRPC letters: the request as the bytes that were kept; the
// answer's message is not looked at. It is safe for concurrent use.
type LetterSender struct {
	// Connect returns a connection to a service, which is kept. Required.
	Connect func(service string) (*grpc.ClientConn, error)
	// Prepare is called before each sending: to put in the credentials that the
	// letter does not have, as metadata. Default: nothing is done.
	Prepare func(ctx context.Context) (context.Context, error)

	mu    sync.Mutex
	conns map[string]*grpc.ClientConn
}

// Send implements [deadletter.Sender].
func (s *LetterSender) Send(ctx context.Context, l deadletter.Letter) error {
	switch {
	case l.Protocol != call.GRPC.String():
		return &call.Error{
			Service: l.Service, Method: l.Method, Reason: call.Rejected,
			Err: fmt.Errorf("letter %s is of protocol %s, not grpc", l.ID, l.Protocol),
		}
	case l.Incomplete:
		return fmt.Errorf("send letter %s: %w: %w", l.ID, deadletter.ErrIncomplete, deadletter.ErrPoison)
	}
	conn, err := s.conn(l.Service)
	if err != nil {
		return fmt.Errorf("send letter %s: %w: %w", l.ID, err, deadletter.ErrPoison)
	}
	md, subtype := unpack(&l)
	ctx = deadletter.With(ctx, deadletter.Mark{Off: true}) // a letter about a letter helps nobody
	ctx = metadata.NewOutgoingContext(ctx, md)
	if s.Prepare != nil {
		if ctx, err = s.Prepare(ctx); err != nil {
			return fmt.Errorf("prepare letter %s: %w", l.ID, err)
		}
	}
	return judgeLetter(&l, conn.Invoke(ctx, l.Method, l.Body, nil, grpc.ForceCodecV2(rawCodec(subtype))))
}

func (s *LetterSender) conn(service string) (*grpc.ClientConn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if conn, ok := s.conns[service]; ok {
		return conn, nil
	}
	conn, err := s.Connect(service)
	if err != nil {
		return nil, err
	}
	if s.conns == nil {
		s.conns = map[string]*grpc.ClientConn{}
	}
	s.conns[service] = conn
	return conn, nil
}

// unpack returns the metadata of a letter and how its message is encoded.
func unpack(l *deadletter.Letter) (md metadata.MD, subtype string) {
	md, subtype = metadata.MD{}, proto.Name
	for name, values := range l.Header {
		switch name = strings.ToLower(name); {
		case name == contentType && len(values) > 0:
			if s, ok := strings.CutPrefix(values[0], grpcType); ok {
				subtype = s
			}
		case !reserved(name):
			md.Append(name, values...)
		}
	}
	for name, value := range l.Trace {
		md.Set(name, value)
	}
	md.Set(idempotency.Metadata, l.Key)
	return md, subtype
}

// reserved names are gRPC's own.
func reserved(name string) bool {
	return name == contentType || name == "te" || name == "user-agent" || strings.HasPrefix(name, "grpc-") || strings.HasPrefix(name, ":")
}

// judgeLetter says what an answer means for a letter: codes that blame the
// request park it.
func judgeLetter(l *deadletter.Letter, err error) error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*call.Error](err); ok {
		return e
	}
	code := status.Code(err)
	if slices.Contains(blaming[:], code) {
		return fmt.Errorf("%w: %w", err, deadletter.ErrPoison)
	}
	if reason := call.ClassifyGRPC(uint32(code)); reason != call.OK {
		return &call.Error{Service: l.Service, Method: l.Method, Reason: reason, Sent: call.Answered, Err: err}
	}
	return err
}

// blaming are the codes that say that the request is wrong, or that its caller
// may not make it.
var blaming = [...]codes.Code{
	codes.InvalidArgument, codes.NotFound, codes.AlreadyExists, codes.PermissionDenied, codes.FailedPrecondition,
	codes.OutOfRange, codes.Unauthenticated,
}

// rawCodec passes a message on as the bytes that it is, under the name of the
// codec that has made them, and reads none.
type rawCodec string

// Marshal implements [encoding.CodecV2].
func (c rawCodec) Marshal(v any) (mem.BufferSlice, error) {
	b, ok := v.([]byte)
	if !ok {
		return nil, fmt.Errorf("a letter's message is %T, not bytes", v)
	}
	return mem.BufferSlice{mem.SliceBuffer(b)}, nil
}

// Unmarshal implements [encoding.CodecV2].
func (c rawCodec) Unmarshal(mem.BufferSlice, any) error { return nil }

// Name implements [encoding.CodecV2].
func (c rawCodec) Name() string { return string(c) }
