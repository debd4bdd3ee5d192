package consul

import (
	"encoding/json"
	"testing"
	"time"
)

// A question that is posted is asked by every query of its watch, and is not
// mistaken for the same path without it.
func TestWatchPosts(t *testing.T) {
	serve := func(_ int, r request) reply { return unchanged(r, 7, `"`+(r.sent + " ")[:4]+`"`) }
	bubble(t, serve, func(t *testing.T, f *fake, c *Client) {
		chain := Query{Path: "/v1/discovery-chain/web", Read: Cached}
		plain := record(t, c, chain)
		chain.Body = json.RawMessage(`{"OverrideProtocol":"http"}`)
		posted := record(t, c, chain)
		pass(6 * time.Minute)
		wantTold(t, plain(), `"GET "`)
		wantTold(t, posted(), `"POST"`)
		sent := map[string]int{}
		for _, r := range f.seen() {
			sent[r.sent]++
		}
		if want := `POST {"OverrideProtocol":"http"}`; sent["GET"] != 3 || sent[want] != 3 || len(sent) != 2 {
			t.Errorf("asked %v, want GET and %s, three times each", sent, want)
		}
	})
}
