package mesh_test

import (
	"errors"
	"io"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"

	"github.com/innermesh/innermesh/call"
	"github.com/innermesh/innermesh/mesh"
	"github.com/innermesh/innermesh/policy"
)

// silentFor bounds the silence of answers.
func silentFor(d time.Duration) policy.Service {
	return policy.Service{Timeout: policy.Timeout{Idle: policy.Duration(d)}}
}

// beats is a base whose answers say something n times, at a distance, and then
// no more.
type beats struct {
	n     int
	every time.Duration
}

func (b beats) RoundTrip(r *http.Request) (*http.Response, error) {
	from, to := io.Pipe()
	go func() {
		tick := time.NewTicker(b.every)
		defer tick.Stop()
		for i := 0; ; i++ {
			select {
			case <-tick.C:
				if i < b.n {
					_, _ = io.WriteString(to, ": beat\n\n")
				}
			case <-r.Context().Done():
				_ = to.CloseWithError(r.Context().Err())
				return
			}
		}
	}()
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: from, Request: r}, nil
}

// An event stream lives as long as it beats; then its silence ends it, with an
// error that says so.
func TestHTTPSilenceEndsAnAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMesh(t, mesh.Options{Discovery: addresses{"web": {"127.0.0.1:1"}}, Defaults: silentFor(time.Minute)})
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://web/events", nil)
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		res, err := m.Transport(beats{10, 50 * time.Second}).RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(res.Body)
		if took := time.Since(began); took != 560*time.Second || len(text) != 80 {
			t.Errorf("%d bytes in %v, want 80 in 560s", len(text), took)
		}
		e, ok := errors.AsType[*call.Error](err)
		if !ok || e.Reason != call.Expired || !e.Timeout() || e.Sent != call.Answered {
			t.Errorf("got %v, want that the time ran out", err)
		}
		if n := inflight(m); n != 0 || failures(m) != 0 {
			t.Errorf("%d under way, %d failures; silence is no fault of the instance", n, failures(m))
		}
		_ = res.Body.Close()
	})
}

// A caller that takes its time to read is not silence.
func TestHTTPSlowReaderIsNotSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMesh(t, mesh.Options{Discovery: addresses{"web": {"127.0.0.1:1"}}, Defaults: silentFor(time.Minute)})
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://web/", nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := m.Transport(beats{2, time.Second}).RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			time.Sleep(time.Hour)
			if n, err := res.Body.Read(make([]byte, 100)); n != 8 || err != nil {
				t.Errorf("read %d bytes, %v", n, err)
			}
		}
		_ = res.Body.Close()
	})
}

// Over real connections, too, whatever bounds the call besides.
func TestHTTPSilenceOnTheWire(t *testing.T) {
	for name, total := range map[string]policy.Duration{"bounded": 0, "unbounded": policy.Off} {
		for _, protocol := range []string{policy.HTTP1, policy.HTTP2} {
			t.Run(name+" "+protocol, func(t *testing.T) {
				start := web
				if protocol == policy.HTTP2 {
					start = h2cWeb
				}
				addr := start(t, func(w http.ResponseWriter, r *http.Request) {
					_, _ = io.WriteString(w, "first")
					w.(http.Flusher).Flush()
					<-r.Context().Done()
				})
				p := silentFor(50 * time.Millisecond)
				p.Timeout.Total, p.HTTP.Protocol = total, protocol
				m := newMesh(t, mesh.Options{Discovery: addresses{"web": {addr}}, Defaults: p})
				res, err := page(t, m, "http://web/")
				if err != nil {
					t.Fatal(err)
				}
				defer func() { _ = res.Body.Close() }()
				text, err := io.ReadAll(res.Body)
				if e, ok := errors.AsType[*call.Error](err); !ok || e.Reason != call.Expired || string(text) != "first" {
					t.Errorf("got %q, %v", text, err)
				}
			})
		}
	}
}

// A stream on which neither side says anything ends; one that only sends lives.
func TestGRPCSilenceEndsAStream(t *testing.T) {
	const limit, pieces = 200 * time.Millisecond, 6
	p := &payments{both: func(
		s grpc.BidiStreamingServer[grpc_testing.StreamingOutputCallRequest, grpc_testing.StreamingOutputCallResponse],
	) error {
		for {
			if _, err := s.Recv(); err != nil {
				return err
			}
		}
	}}
	m := newMesh(t, mesh.Options{Discovery: addresses{"payments": p.three(t)}, Defaults: silentFor(limit)})
	s, err := dialled(t, m).FullDuplexCall(limited(t))
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	ended := make(chan error)
	go func() {
		_, err := s.Recv()
		ended <- err
	}()
	tick := time.NewTicker(limit / 4)
	defer tick.Stop()
	for range pieces {
		<-tick.C
		if err := s.Send(new(grpc_testing.StreamingOutputCallRequest)); err != nil {
			t.Fatal(err)
		}
	}
	err = <-ended
	e, ok := errors.AsType[*call.Error](err)
	if !ok || e.Reason != call.Expired || status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("got %v, want DEADLINE_EXCEEDED", err)
	}
	if took := time.Since(began); took < pieces*limit/4+limit/2 {
		t.Errorf("ended after %v, although something went until %v", took, pieces*limit/4)
	}
	if n := inflight(m); n != 0 || failures(m) != 0 {
		t.Errorf("%d under way, %d failures", n, failures(m))
	}
}
