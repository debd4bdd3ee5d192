package mesh_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/innermesh/innermesh/call"
	"github.com/innermesh/innermesh/deadletter"
	"github.com/innermesh/innermesh/discovery"
	"github.com/innermesh/innermesh/idempotency"
	"github.com/innermesh/innermesh/mesh"
)

var quiet = slog.New(slog.DiscardHandler)

// keeping returns the options of a recorder's mesh, and where letters go.
func keeping(t *testing.T, o deadletter.RecorderOptions) (*deadletter.Recorder, *deadletter.Memory) {
	t.Helper()
	sink := new(deadletter.Memory)
	o.Sink, o.Logger = sink, quiet
	r, err := deadletter.NewRecorder(o)
	if err != nil {
		t.Fatal(err)
	}
	return r, sink
}

// letters are all in the sink.
func letters(t *testing.T, sink deadletter.Sink) (all []deadletter.Letter) {
	t.Helper()
	p, err := sink.List(t.Context(), deadletter.Query{})
	if err != nil {
		t.Fatal(err)
	}
	return p.Letters
}

func redrive(t *testing.T, sink deadletter.Sink, sender deadletter.Sender) deadletter.Report {
	t.Helper()
	r, err := deadletter.NewRedriver(deadletter.RedriverOptions{Sink: sink, Sender: sender, Rate: -1, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	report, err := r.Redrive(limited(t), deadletter.Filter{})
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// received is a server that remembers what it is sent.
type received struct {
	grpc_testing.UnimplementedTestServiceServer
	request *grpc_testing.SimpleRequest
	md      metadata.MD
}

func (r *received) UnaryCall(ctx context.Context, req *grpc_testing.SimpleRequest) (*grpc_testing.SimpleResponse, error) {
	r.request = req
	r.md, _ = metadata.FromIncomingContext(ctx)
	return &grpc_testing.SimpleResponse{}, nil
}

// A gRPC call that nobody could be asked is kept, and carried out when somebody
// is there: the same method, message, metadata and key, without its secrets.
func TestGRPCLetterIsKeptAndRedriven(t *testing.T) {
	registry := new(discovery.Memory)
	gone := deadAddress(t)
	if err := registry.Put("payments", discovery.Instance{ID: "gone", Address: gone}); err != nil {
		t.Fatal(err)
	}
	recorder, sink := keeping(t, deadletter.RecorderOptions{})
	m := newMesh(t, mesh.Options{Discovery: registry, DeadLetters: recorder})
	request := &grpc_testing.SimpleRequest{ResponseSize: 42, Payload: &grpc_testing.Payload{Body: []byte("a chair")}}
	ctx := deadletter.With(limited(t), deadletter.Mark{Keep: time.Hour, Labels: map[string]string{"team": "shop"}})
	ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer not-for-the-disk", "x-shop", "7", "x-blob-bin", "\x00\xff")

	_, err := dialled(t, m).UnaryCall(ctx, request)
	kept, ok := errors.AsType[*deadletter.KeptError](err)
	if !ok || status.Code(err) != codes.Unavailable {
		t.Fatalf("got %v (%v), want a letter and UNAVAILABLE", err, status.Code(err))
	}
	if e, ok := errors.AsType[*call.Error](err); !ok || e.Reason != call.Unreachable {
		t.Errorf("got %v, want the call's error too", err)
	}
	l, err := deadletter.Get(t.Context(), sink, kept.ID)
	if err != nil {
		t.Fatal(err)
	}
	if l.Protocol != "grpc" || l.Service != "payments" || l.Method != grpc_testing.TestService_UnaryCall_FullMethodName ||
		l.Key == "" || l.Labels["team"] != "shop" || l.Expires.IsZero() || l.State != deadletter.Waiting {
		t.Errorf("the letter is %+v", l)
	}
	if md := metadata.MD(l.Header); md.Get("authorization") != nil || !slices.Contains(l.Removed, "authorization") || md.Get("x-shop")[0] != "7" {
		t.Errorf("header %v, removed %v", l.Header, l.Removed)
	}
	if a := l.Attempts[0]; a.Reason != "unreachable" || a.Instance != "gone" || len(a.Each) != a.Tries || len(a.Each) == 0 ||
		a.Each[0].Instance != "gone" || a.Each[0].Reason != "unreachable" || a.Each[0].At.IsZero() {
		t.Errorf("attempt %+v", a)
	}
	encoded, err := deadletter.Encode(l)
	if err != nil || bytes.Contains(encoded, []byte("not-for-the-disk")) {
		t.Errorf("encoded with a secret, or not at all: %v", err)
	}

	srv := new(received)
	addr := serveGRPC(t, srv)
	if err := registry.Set("payments", discovery.Instance{ID: "new", Address: addr}); err != nil {
		t.Fatal(err)
	}
	sender := m.LetterSender(mesh.LetterSenderOptions{PrepareGRPC: func(ctx context.Context) (context.Context, error) {
		return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer fresh"), nil
	}})
	if report := redrive(t, sink, sender); report != (deadletter.Report{Delivered: 1}) {
		t.Fatalf("%+v", report)
	}
	if !proto.Equal(srv.request, request) {
		t.Errorf("received %v, want %v", srv.request, request)
	}
	for name, want := range map[string]string{
		"idempotency-key": l.Key, "x-shop": "7", "x-blob-bin": "\x00\xff", "authorization": "Bearer fresh", "content-type": "application/grpc+proto",
	} {
		if got := srv.md.Get(name); len(got) != 1 || got[0] != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if left := letters(t, sink); len(left) != 0 {
		t.Errorf("left %v", left)
	}
}

// serveGRPC serves the test service until the test ends.
func serveGRPC(t *testing.T, srv grpc_testing.TestServiceServer, o ...grpc.ServerOption) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer(o...)
	grpc_testing.RegisterTestServiceServer(s, srv)
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Serve(l) }()
	t.Cleanup(func() { s.Stop(); <-done })
	return l.Addr().String()
}

// Which gRPC calls become letters.
func TestGRPCKeepsWhatIsLost(t *testing.T) {
	mark := func(ctx context.Context) context.Context { return deadletter.With(ctx, deadletter.Mark{}) }
	for name, test := range map[string]struct {
		options deadletter.RecorderOptions
		ctx     func(context.Context) context.Context
		code    codes.Code
		kept    bool
	}{
		"marked":     {ctx: mark, code: codes.Unavailable, kept: true},
		"not marked": {code: codes.Unavailable},
		"all":        {options: deadletter.RecorderOptions{All: true}, code: codes.Internal, kept: true},
		"all but this": {
			options: deadletter.RecorderOptions{All: true}, code: codes.Internal,
			ctx: func(ctx context.Context) context.Context { return deadletter.With(ctx, deadletter.Mark{Off: true}) },
		},
		"done":                  {ctx: mark, code: codes.OK},
		"refused":               {ctx: mark, code: codes.InvalidArgument},
		"asked for less":        {ctx: mark, code: codes.ResourceExhausted, kept: true},
		"canceled by the other": {ctx: mark, code: codes.Canceled, kept: true},
	} {
		t.Run(name, func(t *testing.T) {
			p := &payments{unary: func(context.Context, int32) error { return status.Error(test.code, "so") }}
			addr, _ := p.start(t)
			recorder, sink := keeping(t, test.options)
			m := newMesh(t, mesh.Options{Discovery: addresses{"payments": {addr}}, DeadLetters: recorder})
			ctx := limited(t)
			if test.ctx != nil {
				ctx = test.ctx(ctx)
			}
			_, err := dialled(t, m).UnaryCall(ctx, &grpc_testing.SimpleRequest{})
			_, kept := errors.AsType[*deadletter.KeptError](err)
			if kept != test.kept || len(letters(t, sink)) == 1 != test.kept || status.Code(err) != test.code {
				t.Errorf("got %v with %d letters, want code %v, kept %v", err, len(letters(t, sink)), test.code, test.kept)
			}
		})
	}
}

func TestGRPCCallGivenUpIsNotKept(t *testing.T) {
	recorder, sink := keeping(t, deadletter.RecorderOptions{})
	entered := make(chan struct{})
	p := &payments{unary: func(ctx context.Context, _ int32) error { close(entered); <-ctx.Done(); return ctx.Err() }}
	addr, _ := p.start(t)
	m := newMesh(t, mesh.Options{Discovery: addresses{"payments": {addr}}, DeadLetters: recorder})
	ctx, cancel := context.WithCancel(deadletter.With(limited(t), deadletter.Mark{}))
	go func() { <-entered; cancel() }()
	_, err := dialled(t, m).UnaryCall(ctx, &grpc_testing.SimpleRequest{})
	if status.Code(err) != codes.Canceled || len(letters(t, sink)) != 0 {
		t.Errorf("got %v with %d letters", err, len(letters(t, sink)))
	}
}

// A deadline is no wish to be forgotten.
func TestGRPCCallOutOfTimeIsKept(t *testing.T) {
	recorder, sink := keeping(t, deadletter.RecorderOptions{})
	p := &payments{unary: func(ctx context.Context, _ int32) error { <-ctx.Done(); return ctx.Err() }}
	addr, _ := p.start(t)
	m := newMesh(t, mesh.Options{Discovery: addresses{"payments": {addr}}, DeadLetters: recorder})
	ctx := call.With(deadletter.With(limited(t), deadletter.Mark{}), call.Options{Timeout: 50 * time.Millisecond})
	_, err := dialled(t, m).UnaryCall(ctx, &grpc_testing.SimpleRequest{})
	all := letters(t, sink)
	if status.Code(err) != codes.DeadlineExceeded || len(all) != 1 || all[0].Reason != "expired" {
		t.Errorf("got %v with %v", err, all)
	}
}

func TestGRPCLetterThatIsRefusedIsParked(t *testing.T) {
	for code, want := range map[codes.Code]deadletter.Report{
		codes.InvalidArgument: {Parked: 1}, codes.Unauthenticated: {Parked: 1},
		codes.Aborted: {Failed: 1}, codes.Internal: {Failed: 1}, codes.Unimplemented: {Failed: 1},
	} {
		p := &payments{unary: func(context.Context, int32) error { return status.Error(code, "so") }}
		addr, _ := p.start(t)
		m := newMesh(t, mesh.Options{Discovery: addresses{"payments": {addr}}})
		sink := new(deadletter.Memory)
		l, err := mesh.GRPCLetter(t.Context(), "payments", grpc_testing.TestService_UnaryCall_FullMethodName, &grpc_testing.SimpleRequest{})
		if err != nil {
			t.Fatal(err)
		}
		l.Fill(time.Now())
		if err := sink.Put(t.Context(), l); err != nil {
			t.Fatal(err)
		}
		if got := redrive(t, sink, m.LetterSender(mesh.LetterSenderOptions{})); got != want {
			t.Errorf("%v: %+v, want %+v", code, got, want)
		}
	}
}

// A letter whose service has nobody is put back as it was.
func TestGRPCLetterWithoutInstances(t *testing.T) {
	m := newMesh(t, mesh.Options{Discovery: addresses{"payments": nil}})
	sink := new(deadletter.Memory)
	l, err := mesh.GRPCLetter(t.Context(), "payments", grpc_testing.TestService_UnaryCall_FullMethodName, &grpc_testing.SimpleRequest{})
	if err != nil {
		t.Fatal(err)
	}
	l.Fill(time.Now())
	if err := sink.Put(t.Context(), l); err != nil {
		t.Fatal(err)
	}
	if got := redrive(t, sink, m.LetterSender(mesh.LetterSenderOptions{})); got != (deadletter.Report{Refused: 1}) {
		t.Errorf("%+v", got)
	}
}

func TestGRPCOutbox(t *testing.T) {
	srv := new(received)
	m := newMesh(t, mesh.Options{Discovery: addresses{"payments": {serveGRPC(t, srv)}}})
	sink := new(deadletter.Memory)
	outbox, err := deadletter.NewOutbox(deadletter.OutboxOptions{Sink: sink, Sender: m.LetterSender(mesh.LetterSenderOptions{}), Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	request := &grpc_testing.SimpleRequest{ResponseSize: 7}
	ctx := metadata.AppendToOutgoingContext(limited(t), "idempotency-key", "order-42")
	l, err := mesh.GRPCLetter(ctx, "payments", grpc_testing.TestService_UnaryCall_FullMethodName, request)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := outbox.Enqueue(ctx, l); err != nil {
		t.Fatal(err)
	}
	if err := outbox.Close(ctx); err != nil {
		t.Fatal(err)
	}
	if !proto.Equal(srv.request, request) || srv.md.Get("idempotency-key")[0] != "order-42" {
		t.Errorf("received %v with %v", srv.request, srv.md)
	}
}

// The mesh's own HTTP client keeps what is marked, once, however often the
// recorder is put around it.
func TestHTTPLetterIsKeptOnceAndRedriven(t *testing.T) {
	var open bool
	var got keys
	h := func(w http.ResponseWriter, r *http.Request) {
		got.add(r.Header["Idempotency-Key"])
		if !open {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}
	addr, other := web(t, h), web(t, h)
	recorder, sink := keeping(t, deadletter.RecorderOptions{})
	m := newMesh(t, mesh.Options{Discovery: addresses{"web": {addr, other}}, DeadLetters: recorder})
	client := &http.Client{Transport: recorder.Transport(m.Transport(nil))}
	req := request(t, http.MethodPost, "http://web/orders", strings.NewReader("a chair"))
	res, err := client.Do(req.WithContext(deadletter.With(req.Context(), deadletter.Mark{})))
	if err == nil {
		_ = res.Body.Close()
	}
	if _, ok := errors.AsType[*deadletter.KeptError](err); !ok {
		t.Fatalf("got %v", err)
	}
	all := letters(t, sink)
	if len(all) != 1 {
		t.Fatalf("%d letters, want one", len(all))
	}
	tried := got.taken()
	a := all[0].Attempts[0]
	if len(a.Each) != len(tried) || a.Tries != len(tried) || a.Instance == "" || a.Each[0].Reason != "unavailable" || a.Each[0].Sent != "answered" {
		t.Errorf("attempt %+v after %d requests", a, len(tried))
	}
	open = true
	if report := redrive(t, sink, m.LetterSender(mesh.LetterSenderOptions{})); report != (deadletter.Report{Delivered: 1}) {
		t.Errorf("%+v", report)
	}
	if key := got.one(t, 1); key != all[0].Key || slices.ContainsFunc(tried, func(k string) bool { return k != key }) {
		t.Errorf("redriven with key %q; the letter has %q, the attempts had %q", key, all[0].Key, tried)
	}
	plain := request(t, http.MethodPost, "http://web/orders", io.NopCloser(strings.NewReader("a table")))
	open = false
	res, err = m.HTTPClient().Do(plain)
	if err != nil {
		t.Fatal(err)
	}
	read(t, res)
	if n := len(letters(t, sink)); n != 0 {
		t.Errorf("%d letters of what was not marked", n)
	}
}

// A key of the caller's own is that of the attempts, of the letter and of its
// redrive, over both protocols.
func TestLettersKeepTheCallersKey(t *testing.T) {
	long := strings.Repeat("k", 255)
	for name, key := range map[string]string{"plain": "order-42", "odd": `order "42"`, "long": long} {
		t.Run(name, func(t *testing.T) {
			var seen, seenGRPC keys
			addr := web(t, func(w http.ResponseWriter, r *http.Request) {
				seen.add(r.Header["Idempotency-Key"])
				w.WriteHeader(http.StatusServiceUnavailable)
			})
			p := &payments{unary: func(ctx context.Context, _ int32) error {
				seenGRPC.add(metadata.ValueFromIncomingContext(ctx, idempotency.Metadata))
				return status.Error(codes.Unavailable, "later")
			}}
			addrGRPC, _ := p.start(t)
			recorder, sink := keeping(t, deadletter.RecorderOptions{})
			m := newMesh(t, mesh.Options{Discovery: addresses{"web": {addr}, "payments": {addrGRPC}}, DeadLetters: recorder})
			ctx := call.With(deadletter.With(limited(t), deadletter.Mark{}), call.Options{Key: key, Attempts: 1})

			req := request(t, http.MethodPost, "http://web/orders", strings.NewReader("a chair"))
			res, err := m.HTTPClient().Do(req.WithContext(ctx))
			if err == nil {
				_ = res.Body.Close()
				t.Fatal("answered")
			}
			if _, err := dialled(t, m).UnaryCall(ctx, &grpc_testing.SimpleRequest{}); err == nil {
				t.Fatal("answered")
			}
			if n := len(letters(t, sink)); n != 2 {
				t.Fatalf("%d letters", n)
			}
			if report := redrive(t, sink, m.LetterSender(mesh.LetterSenderOptions{})); report != (deadletter.Report{Failed: 2}) {
				t.Fatalf("%+v", report)
			}
			for protocol, got := range map[string][]string{"http": seen.taken(), "grpc": seenGRPC.taken()} {
				for _, field := range got {
					if k, err := idempotency.ParseKey(field); err != nil || k != key {
						t.Errorf("%s: sent %q: %q, %v", protocol, field, k, err)
					}
				}
				if len(got) < 2 || got[0] != got[len(got)-1] {
					t.Errorf("%s: sent %q", protocol, got)
				}
			}
		})
	}
}

// A key that is none costs nothing but an error: nothing is sent, nothing kept
// under another key.
func TestDurableCallWithABadKey(t *testing.T) {
	var n atomic.Int32
	p := new(payments)
	addrGRPC, _ := p.start(t)
	recorder, sink := keeping(t, deadletter.RecorderOptions{})
	m := newMesh(t, mesh.Options{
		Discovery: addresses{"web": {web(t, counted(&n, ok))}, "payments": {addrGRPC}}, DeadLetters: recorder,
	})
	ctx := call.With(deadletter.With(limited(t), deadletter.Mark{}), call.Options{Key: "a\nb"})
	body := watch("a chair")
	req := request(t, http.MethodPost, "http://web/orders", body)
	res, err := m.HTTPClient().Do(req.WithContext(ctx))
	if err == nil {
		_ = res.Body.Close()
	}
	if e, ok := errors.AsType[*call.Error](err); !ok || e.Reason != call.Rejected {
		t.Errorf("HTTP: %v", err)
	}
	_, err = dialled(t, m).UnaryCall(ctx, &grpc_testing.SimpleRequest{})
	if e, ok := errors.AsType[*call.Error](err); !ok || e.Reason != call.Rejected {
		t.Errorf("gRPC: %v", err)
	}
	if left := letters(t, sink); n.Load()+p.calls.Load() != 0 || len(left) != 0 {
		t.Errorf("%d requests, %d calls, letters %v", n.Load(), p.calls.Load(), left)
	}
}

// A stream that must not be lost is refused at once; others go on as ever.
func TestGRPCStreamCanNotBeKept(t *testing.T) {
	recorder, sink := keeping(t, deadletter.RecorderOptions{All: true})
	p := &payments{down: func(grpc.ServerStreamingServer[grpc_testing.StreamingOutputCallResponse], int32) error { return nil }}
	m := newMesh(t, mesh.Options{Discovery: addresses{"payments": p.three(t)}, DeadLetters: recorder})
	stub := dialled(t, m)
	_, err := stub.StreamingOutputCall(deadletter.With(limited(t), deadletter.Mark{}), new(grpc_testing.StreamingOutputCallRequest))
	if status.Code(err) != codes.Unimplemented || p.calls.Load() != 0 {
		t.Errorf("a marked stream: %v after %d calls", err, p.calls.Load())
	}
	stream, err := stub.StreamingOutputCall(limited(t), new(grpc_testing.StreamingOutputCallRequest))
	if err == nil {
		_, err = stream.Recv()
	}
	if !errors.Is(err, io.EOF) {
		t.Errorf("a stream like others: %v", err)
	}
	if all := letters(t, sink); len(all) != 0 {
		t.Errorf("kept %v", all)
	}
}
