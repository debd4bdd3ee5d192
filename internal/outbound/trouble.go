package outbound

import (
	"github.com/innermesh/innermesh/call"
	"github.com/innermesh/innermesh/internal/upstream"
)

// trouble keeps what went wrong for who looks at this process. A call that its
// caller has given up is none, and so is a copy that nobody waits for.
func (f *Flight) trouble(out call.Outcome, again bool) {
	if out.Reason == call.Canceled || f.copied != nil {
		return
	}
	f.upstream.Note(upstream.Trouble{
		Protocol: f.Protocol, Method: f.Method, Instance: f.Instance,
		Reason: out.Reason, Attempt: f.Attempts, Again: again, Err: out.Err,
	})
}
