package grpcadapter

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protodelim"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/innermesh/innermesh/idempotency"
)

// recording collects what a handler answers. Metadata may be set from several
// goroutines; messages come from one.
//
// Kept is a row of delimited google.protobuf.Any: the messages, and behind them
// the google.rpc.Status if it is not OK.
type recording struct {
	limit   int
	body    bytes.Buffer
	missing bool // not all can be kept

	mu              sync.Mutex
	header, trailer metadata.MD
}

func newRecording(limit int) *recording { return &recording{limit: limit} }

// within returns a context in which the functions of package grpc that set
// metadata find the recording.
func (r *recording) within(ctx context.Context) context.Context {
	next := grpc.ServerTransportStreamFromContext(ctx)
	if next == nil { // a handler called without gRPC
		return ctx
	}
	return grpc.NewContextWithServerTransportStream(ctx, &recordingTransport{next, r})
}

// message keeps a message as it is now.
func (r *recording) message(m any) {
	if r.missing {
		return
	}
	message, ok := m.(proto.Message)
	if ok {
		var packed *anypb.Any
		packed, err := anypb.New(message)
		ok = err == nil && r.body.Len()+len(packed.GetValue()) <= r.limit
		if ok {
			_, err = protodelim.MarshalTo(&r.body, packed)
			ok = err == nil
		}
	}
	if !ok {
		r.missing = true
		r.body = bytes.Buffer{}
	}
}

func (r *recording) addHeader(md metadata.MD) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.header = metadata.Join(r.header, md)
}

func (r *recording) addTrailer(md metadata.MD) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.trailer = metadata.Join(r.trailer, md)
}

// outcome returns what is to be kept of a call that ended with err.
func (r *recording) outcome(err error) idempotency.Outcome {
	st, ok := status.FromError(err)
	if !ok {
		st = status.FromContextError(err) // as gRPC does
	}
	if st.Code() != codes.OK {
		r.message(st.Proto())
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	o := idempotency.Outcome{Status: int(st.Code()), Header: r.header, Trailer: r.trailer, Body: r.body.Bytes()}
	if r.missing {
		return o.WithoutBody()
	}
	return o
}

// decodeOutcome reads what outcome has made. st is the status as an error, nil
// if it was OK.
func decodeOutcome(o *idempotency.Outcome) (messages []proto.Message, st, err error) {
	row := bytes.NewReader(o.Body)
	var all []*anypb.Any
	for {
		packed := new(anypb.Any)
		err := protodelim.UnmarshalOptions{MaxSize: -1}.UnmarshalFrom(row, packed) // the store has bounded it
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, nil, status.Errorf(codes.DataLoss, "innermesh: the kept answer can not be read: %v", err)
		}
		all = append(all, packed)
	}
	if o.Status != int(codes.OK) {
		last := status.New(codes.Unknown, "").Proto()
		if len(all) == 0 || all[len(all)-1].UnmarshalTo(last) != nil {
			return nil, nil, status.Error(codes.DataLoss, "innermesh: the kept answer has no status")
		}
		st, all = status.FromProto(last).Err(), all[:len(all)-1]
	}
	for _, packed := range all {
		m, err := packed.UnmarshalNew()
		if err != nil { // the type is not linked into this program any more
			return nil, nil, status.Errorf(codes.DataLoss, "innermesh: the kept answer can not be read: %v", err)
		}
		messages = append(messages, m)
	}
	return messages, st, nil
}

// replayUnary answers with what was kept.
func replayUnary(ctx context.Context, o *idempotency.Outcome) (any, error) {
	messages, st, err := decodeOutcome(o)
	if err != nil {
		return nil, err
	}
	if err := grpc.SetHeader(ctx, replayedHeader(o)); err != nil {
		return nil, err
	}
	if err := grpc.SetTrailer(ctx, o.Trailer); err != nil {
		return nil, err
	}
	if st != nil {
		return nil, st
	}
	if len(messages) != 1 {
		return nil, status.Errorf(codes.DataLoss, "innermesh: the kept answer has %d messages", len(messages))
	}
	return messages[0], nil
}

func replayedHeader(o *idempotency.Outcome) metadata.MD {
	return metadata.Join(o.Header, metadata.Pairs(idempotency.ReplayedMetadata, "true"))
}

// recordingTransport hears of metadata that a handler sets by its context.
type recordingTransport struct {
	grpc.ServerTransportStream
	r *recording
}

// SetHeader implements [grpc.ServerTransportStream].
func (t *recordingTransport) SetHeader(md metadata.MD) error {
	t.r.addHeader(md)
	return t.ServerTransportStream.SetHeader(md)
}

// SendHeader implements [grpc.ServerTransportStream].
func (t *recordingTransport) SendHeader(md metadata.MD) error {
	t.r.addHeader(md)
	return t.ServerTransportStream.SendHeader(md)
}

// SetTrailer implements [grpc.ServerTransportStream].
func (t *recordingTransport) SetTrailer(md metadata.MD) error {
	t.r.addTrailer(md)
	return t.ServerTransportStream.SetTrailer(md)
}
