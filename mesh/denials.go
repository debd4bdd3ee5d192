package mesh

import (
	"time"

	"github.com/innermesh/innermesh/internal/admin"
	"github.com/innermesh/innermesh/internal/window"
)

// denialsMost is how many refusals are kept for the live page.
const denialsMost = 128

// denials are the latest calls that came in and were refused, or would have been.
// It is bounded, and safe for concurrent use.
type denials struct{ latest window.Latest[denial] }

// denial has nothing of the request but its method, over gRPC.
type denial struct {
	at                  time.Time
	caller, method, why string
	dry                 bool
}

func (d *denials) add(one denial) {
	one.caller, one.method, one.why = clip(one.caller), clip(one.method), clip(one.why)
	d.latest.Keep(one, denialsMost)
}

// events are the refusals as the page shows them.
func (d *denials) events() (all []admin.Event) {
	for _, k := range d.latest.All() {
		e := admin.Event{At: k.at, Kind: "denied", Tone: admin.Warn, Text: k.method + " from " + k.caller + " refused", Detail: k.why}
		if k.dry {
			e.Text = k.method + " from " + k.caller + " would be refused: this is a dry run"
		}
		all = append(all, e)
	}
	return all
}
