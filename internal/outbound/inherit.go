package outbound

import (
	"github.com/innermesh/innermesh/call"
	"github.com/innermesh/innermesh/internal/route"
)

// inherit has a call that is made to serve another one go by what that has told,
// where it does not speak for itself.
func (f *Flight) inherit(r Request) {
	in := call.InboundFrom(f.ctx)
	f.Serving, f.Mirrored = in.Attempt, in.Mirrored
	if in.Priority != "" && f.Options.Priority == "" {
		if _, said := r.HeaderValue(priorityHeader); !said {
			f.Options.Priority = in.Priority
		}
	}
	if in.RequestID != "" {
		if _, said := r.HeaderValue(requestIDHeader); !said {
			f.RequestID = in.RequestID
		}
	}
}

// The names of what is inherited, in their spellings.
var (
	priorityHeader  = route.NewName(call.PriorityHeader)
	requestIDHeader = route.NewName(call.RequestIDHeader)
)
