package grpcadapter_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/innermesh/innermesh/idempotency"
	"github.com/innermesh/innermesh/internal/grpcadapter"
)

// callee is a server whose calls are guarded, and how often its handlers ran.
type callee struct {
	*testing.T
	grpc_testing.UnimplementedTestServiceServer

	client grpc_testing.TestServiceClient
	guard  *idempotency.Guard
	runs   atomic.Int32

	answer func(context.Context) (*grpc_testing.SimpleResponse, error)
	stream func(grpc.ServerStream) error
}

func serve(t *testing.T, guarded idempotency.Options, o grpcadapter.IdempotencyOptions) *callee {
	t.Helper()
	c := &callee{T: t, answer: func(context.Context) (*grpc_testing.SimpleResponse, error) {
		return &grpc_testing.SimpleResponse{Username: "first"}, nil
	}}
	var err error
	if guarded.Store == nil {
		if guarded.Store, err = idempotency.NewMemory(idempotency.MemoryOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	if o.Guard, err = idempotency.New(guarded); err != nil {
		t.Fatal(err)
	}
	c.guard = o.Guard
	srv := grpc.NewServer(append(grpcadapter.IdempotencyServerOptions(o), grpc.WaitForHandlers(true))...)
	grpc_testing.RegisterTestServiceServer(srv, c)
	ln := bufconn.Listen(1 << 16)
	ended := make(chan error)
	go func() { ended <- srv.Serve(ln) }()
	conn, err := grpc.NewClient("passthrough:///callee", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return ln.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		conn.Close()
		srv.Stop()
		<-ended
	})
	c.client = grpc_testing.NewTestServiceClient(conn)
	return c
}

func (c *callee) UnaryCall(ctx context.Context, _ *grpc_testing.SimpleRequest) (*grpc_testing.SimpleResponse, error) {
	c.runs.Add(1)
	return c.answer(ctx)
}

func (c *callee) StreamingOutputCall(
	_ *grpc_testing.StreamingOutputCallRequest, s grpc.ServerStreamingServer[grpc_testing.StreamingOutputCallResponse],
) error {
	c.runs.Add(1)
	return c.stream(s)
}

func (c *callee) StreamingInputCall(
	s grpc.ClientStreamingServer[grpc_testing.StreamingInputCallRequest, grpc_testing.StreamingInputCallResponse],
) error {
	c.runs.Add(1)
	return c.stream(s)
}

// asked is what a client gets to see of a call.
type asked struct {
	messages        []proto.Message
	header, trailer metadata.MD
	err             error
}

func (a asked) replayed() bool { return len(a.header.Get(idempotency.ReplayedMetadata)) == 1 }

func keyed(ctx context.Context, keys ...string) context.Context {
	return metadata.NewOutgoingContext(ctx, metadata.MD{idempotency.Metadata: keys})
}

func (c *callee) unary(ctx context.Context, user string) (a asked) {
	c.Helper()
	res, err := c.client.UnaryCall(ctx, &grpc_testing.SimpleRequest{Payload: &grpc_testing.Payload{Body: []byte(user)}},
		grpc.Header(&a.header), grpc.Trailer(&a.trailer))
	if err == nil {
		a.messages = []proto.Message{res}
	}
	a.err = err
	return a
}

func (c *callee) output(ctx context.Context, user string) (a asked) {
	c.Helper()
	s, err := c.client.StreamingOutputCall(ctx,
		&grpc_testing.StreamingOutputCallRequest{Payload: &grpc_testing.Payload{Body: []byte(user)}})
	if err != nil {
		c.Fatal(err)
	}
	for {
		m, err := s.Recv()
		if err != nil {
			a.header, _ = s.Header()
			a.trailer = s.Trailer()
			if err != io.EOF {
				a.err = err
			}
			return a
		}
		a.messages = append(a.messages, m)
	}
}

func (c *callee) input(ctx context.Context) (a asked) {
	c.Helper()
	s, err := c.client.StreamingInputCall(ctx)
	if err != nil {
		c.Fatal(err)
	}
	_ = s.Send(&grpc_testing.StreamingInputCallRequest{})
	res, err := s.CloseAndRecv()
	a.header, _ = s.Header()
	a.trailer = s.Trailer()
	if a.err = err; err == nil {
		a.messages = []proto.Message{res}
	}
	return a
}

// same compares a repeat with the first.
func (c *callee) same(first, repeat asked) {
	c.Helper()
	if !repeat.replayed() || first.replayed() {
		c.Errorf("marked as replayed: the first %v, the repeat %v", first.replayed(), repeat.replayed())
	}
	if diff := cmp.Diff(first.messages, repeat.messages, protocmp.Transform()); diff != "" {
		c.Errorf("messages differ:\n%s", diff)
	}
	if diff := cmp.Diff(status.Convert(first.err).Proto(), status.Convert(repeat.err).Proto(), protocmp.Transform()); diff != "" {
		c.Errorf("statuses differ:\n%s", diff)
	}
	delete(repeat.header, idempotency.ReplayedMetadata)
	for _, md := range []metadata.MD{first.header, first.trailer, repeat.header, repeat.trailer} {
		delete(md, "content-type") // an answer that is only a status has it in its trailer
	}
	if diff := cmp.Diff([]metadata.MD{first.header, first.trailer}, []metadata.MD{repeat.header, repeat.trailer}, cmpopts.EquateEmpty()); diff != "" {
		c.Errorf("metadata differ:\n%s", diff)
	}
}

func (c *callee) ran(want int32) {
	c.Helper()
	if n := c.runs.Load(); n != want {
		c.Errorf("handlers ran %d times, want %d", n, want)
	}
}

func (c *callee) refused(a asked, code codes.Code, part string) {
	c.Helper()
	if status.Code(a.err) != code || !strings.Contains(status.Convert(a.err).Message(), part) {
		c.Errorf("got %v, want %v with %q", a.err, code, part)
	}
}

func TestIdempotentUnary(t *testing.T) {
	c := serve(t, idempotency.Options{}, grpcadapter.IdempotencyOptions{})
	c.answer = func(ctx context.Context) (*grpc_testing.SimpleResponse, error) {
		if idempotency.KeyFrom(ctx) == "" {
			t.Error("the handler does not know the key")
		}
		check(t, grpc.SetHeader(ctx, metadata.Pairs("a", "1", "a", "2", "b-bin", "\x00\xff")))
		check(t, grpc.SendHeader(ctx, metadata.Pairs("c", "3")))
		check(t, grpc.SetTrailer(ctx, metadata.Pairs("t", "4")))
		return &grpc_testing.SimpleResponse{Username: "first"}, nil
	}
	first := c.unary(keyed(t.Context(), "k"), "pen")
	check(t, first.err)
	c.same(first, c.unary(keyed(t.Context(), `"k"`), "pen"))
	c.ran(1)
	c.refused(c.unary(keyed(t.Context(), "k"), "book"), codes.InvalidArgument, "another request")
	c.refused(c.unary(keyed(t.Context(), "a b"), "pen"), codes.InvalidArgument, "quotes")
	c.refused(c.unary(keyed(t.Context(), "a", "b"), "pen"), codes.InvalidArgument, "there are 2")
	c.ran(1)
	if got := c.guard.Stats(); got.First != 1 || got.Replayed != 1 || got.Malformed != 2 || got.Mismatches != 1 {
		t.Errorf("%+v", got)
	}
}

func TestIdempotentErrors(t *testing.T) {
	c := serve(t, idempotency.Options{}, grpcadapter.IdempotencyOptions{})
	for code, kept := range map[codes.Code]bool{
		codes.NotFound: true, codes.Internal: true, codes.Unknown: true, codes.DeadlineExceeded: true,
		codes.Unavailable: false, codes.ResourceExhausted: false, codes.Aborted: false, codes.Unauthenticated: false,
		codes.PermissionDenied: false, codes.Unimplemented: false,
	} {
		c.runs.Store(0)
		st, err := status.New(code, "the card has no money").WithDetails(&grpc_testing.SimpleResponse{Username: "why"})
		check(t, err)
		c.answer = func(context.Context) (*grpc_testing.SimpleResponse, error) { return nil, st.Err() }
		key := idempotency.NewKey()
		first := c.unary(keyed(t.Context(), key), "pen")
		repeat := c.unary(keyed(t.Context(), key), "pen")
		if kept {
			c.same(first, repeat)
			c.ran(1)
		} else {
			c.ran(2)
		}
	}
	c.answer = func(context.Context) (*grpc_testing.SimpleResponse, error) { return nil, errors.New("no status") }
	c.same(c.unary(keyed(t.Context(), "plain"), ""), c.unary(keyed(t.Context(), "plain"), ""))
}

func TestIdempotentRequired(t *testing.T) {
	c := serve(t, idempotency.Options{}, grpcadapter.IdempotencyOptions{Require: []string{
		grpc_testing.TestService_UnaryCall_FullMethodName, "/grpc.testing.Other/*",
	}})
	c.refused(c.unary(t.Context(), ""), codes.InvalidArgument, "requires")
	c.stream = func(grpc.ServerStream) error { return nil }
	check(t, c.output(t.Context(), "").err)
	check(t, c.output(t.Context(), "").err)
	c.ran(2)
}

func TestIdempotentServerStream(t *testing.T) {
	c := serve(t, idempotency.Options{}, grpcadapter.IdempotencyOptions{})
	var end error
	c.stream = func(s grpc.ServerStream) error {
		if idempotency.KeyFrom(s.Context()) == "" {
			t.Error("the handler does not know the key")
		}
		check(t, s.SetHeader(metadata.Pairs("a", "1")))
		check(t, grpc.SetHeader(s.Context(), metadata.Pairs("b", "2")))
		m := new(grpc_testing.StreamingOutputCallResponse)
		for _, word := range []string{"one", "two", "three"} { // the same message again and again
			m.Payload = &grpc_testing.Payload{Body: []byte(word)}
			check(t, s.SendMsg(m))
		}
		s.SetTrailer(metadata.Pairs("t", "3"))
		return end
	}
	first := c.output(keyed(t.Context(), "k"), "pen")
	check(t, first.err)
	if len(first.messages) != 3 {
		t.Fatalf("%d messages", len(first.messages))
	}
	c.same(first, c.output(keyed(t.Context(), "k"), "pen"))
	c.refused(c.output(keyed(t.Context(), "k"), "book"), codes.InvalidArgument, "another request")
	c.ran(1)
	end = status.Error(codes.DataLoss, "half of it is gone")
	c.same(c.output(keyed(t.Context(), "broken"), ""), c.output(keyed(t.Context(), "broken"), ""))
	c.ran(2)
}

func TestIdempotentClientStream(t *testing.T) {
	c := serve(t, idempotency.Options{}, grpcadapter.IdempotencyOptions{})
	c.stream = func(s grpc.ServerStream) error {
		for {
			err := s.RecvMsg(new(grpc_testing.StreamingInputCallRequest))
			if err == io.EOF {
				return s.SendMsg(&grpc_testing.StreamingInputCallResponse{AggregatedPayloadSize: 7})
			}
			if err != nil {
				return err
			}
		}
	}
	first := c.input(keyed(t.Context(), "k"))
	check(t, first.err)
	c.same(first, c.input(keyed(t.Context(), "k")))
	c.ran(1)

	// Requests that break off leave nothing behind.
	ctx, cancel := context.WithCancel(keyed(t.Context(), "off"))
	began, ended := make(chan struct{}), make(chan struct{})
	inner := c.stream
	c.stream = func(s grpc.ServerStream) error {
		close(began)
		defer close(ended)
		return inner(s)
	}
	s, err := c.client.StreamingInputCall(ctx)
	check(t, err)
	check(t, s.Send(&grpc_testing.StreamingInputCallRequest{}))
	<-began
	cancel()
	c.refused(asked{err: s.RecvMsg(new(grpc_testing.StreamingInputCallResponse))}, codes.Canceled, "")
	<-ended
	c.stream = inner
	if a := c.input(keyed(t.Context(), "off")); a.err != nil || a.replayed() {
		t.Errorf("after a call that broke off: %v, replayed %v", a.err, a.replayed())
	}
}

func TestIdempotentTooLarge(t *testing.T) {
	c := serve(t, idempotency.Options{MaxResponse: 100}, grpcadapter.IdempotencyOptions{})
	c.answer = func(context.Context) (*grpc_testing.SimpleResponse, error) {
		return &grpc_testing.SimpleResponse{Username: strings.Repeat("x", 200)}, nil
	}
	c.stream = func(s grpc.ServerStream) error {
		for range 10 {
			check(t, s.SendMsg(&grpc_testing.StreamingOutputCallResponse{Payload: &grpc_testing.Payload{Body: make([]byte, 30)}}))
		}
		return nil
	}
	check(t, c.unary(keyed(t.Context(), "k"), "").err)
	c.refused(c.unary(keyed(t.Context(), "k"), ""), codes.FailedPrecondition, "not kept")
	if a := c.output(keyed(t.Context(), "k"), ""); a.err != nil || len(a.messages) != 10 {
		t.Errorf("%d messages, %v", len(a.messages), a.err)
	}
	c.refused(c.output(keyed(t.Context(), "k"), ""), codes.FailedPrecondition, "not kept")
	c.ran(2)
}

func TestIdempotentWhileTheFirstRuns(t *testing.T) {
	c := serve(t, idempotency.Options{Wait: -1, RetryAfter: 1500 * time.Millisecond}, grpcadapter.IdempotencyOptions{})
	began, proceed := make(chan struct{}), make(chan struct{})
	c.answer = func(ctx context.Context) (*grpc_testing.SimpleResponse, error) {
		close(began)
		<-proceed
		return &grpc_testing.SimpleResponse{}, ctx.Err()
	}
	c.stream = func(s grpc.ServerStream) error {
		_, err := c.answer(s.Context())
		return err
	}
	for name, ask := range map[string]func(context.Context) asked{
		"unary":  func(ctx context.Context) asked { return c.unary(ctx, "") },
		"stream": func(ctx context.Context) asked { return c.output(ctx, "") },
	} {
		began, proceed = make(chan struct{}), make(chan struct{})
		ctx, cancel := context.WithCancel(keyed(t.Context(), "k"))
		left := make(chan asked)
		go func() { left <- ask(ctx) }()
		<-began
		a := ask(keyed(t.Context(), "k"))
		c.refused(a, codes.Aborted, "is being carried out")
		if got := a.trailer.Get("grpc-retry-pushback-ms"); len(got) != 1 || got[0] != "1500" {
			t.Errorf("%s: told to come again after %q", name, got)
		}
		cancel() // the first hangs up
		c.refused(<-left, codes.Canceled, "")
		close(proceed)
		for a = ask(keyed(t.Context(), "k")); status.Code(a.err) == codes.Aborted; a = ask(keyed(t.Context(), "k")) {
			// its handler is about to end
		}
		if a.err != nil || !a.replayed() {
			t.Errorf("%s: after the first had hung up: %v, replayed %v", name, a.err, a.replayed())
		}
	}
	c.ran(2)
}

func TestIdempotentPanicFreesTheKey(t *testing.T) {
	c := serve(t, idempotency.Options{}, grpcadapter.IdempotencyOptions{})
	c.answer = func(context.Context) (*grpc_testing.SimpleResponse, error) { panic("boom") }
	// gRPC ends the program with a panic; an interceptor inside or outside may not.
	srv := grpc.NewServer(append([]grpc.ServerOption{grpc.ChainUnaryInterceptor(
		func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (reply any, err error) {
			defer func() {
				if p := recover(); p != nil {
					err = status.Error(codes.Internal, "panicked")
				}
			}()
			return handle(ctx, req)
		})}, grpcadapter.IdempotencyServerOptions(grpcadapter.IdempotencyOptions{Guard: c.guard})...)...)
	grpc_testing.RegisterTestServiceServer(srv, c)
	ln := bufconn.Listen(1 << 16)
	ended := make(chan error)
	go func() { ended <- srv.Serve(ln) }()
	conn, err := grpc.NewClient("passthrough:///panicky", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return ln.DialContext(ctx) }))
	check(t, err)
	client := grpc_testing.NewTestServiceClient(conn)
	for range 2 {
		_, err := client.UnaryCall(keyed(t.Context(), "k"), &grpc_testing.SimpleRequest{})
		c.refused(asked{err: err}, codes.Internal, "panicked")
	}
	c.ran(2)
	conn.Close()
	srv.Stop()
	<-ended
}

func TestIdempotentStoreFails(t *testing.T) {
	c := serve(t, idempotency.Options{Store: broken{}, Logger: slog.New(slog.DiscardHandler)}, grpcadapter.IdempotencyOptions{})
	c.refused(c.unary(keyed(t.Context(), "k"), ""), codes.Unavailable, "is not available")
	if a := c.unary(keyed(t.Context(), "k"), ""); strings.Contains(a.err.Error(), "secret") {
		t.Errorf("the caller was told: %v", a.err)
	}
	c.ran(0)
	open := serve(t, idempotency.Options{Store: broken{}, FailOpen: true, Logger: slog.New(slog.DiscardHandler)}, grpcadapter.IdempotencyOptions{})
	open.stream = func(s grpc.ServerStream) error { return s.SendMsg(&grpc_testing.StreamingOutputCallResponse{}) }
	for range 2 {
		check(t, open.unary(keyed(t.Context(), "k"), "").err)
		check(t, open.output(keyed(t.Context(), "k"), "").err)
	}
	open.ran(4)
}

// broken is a store that is down.
type broken struct{ idempotency.Store }

func (broken) Begin(context.Context, idempotency.Claim) (idempotency.Entry, error) {
	return idempotency.Entry{}, errors.New("dial secret.address")
}

func (broken) Abandon(context.Context, idempotency.ID, idempotency.Token) error {
	return errors.New("dial secret.address")
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Error(err)
	}
}
