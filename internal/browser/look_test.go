package browser

import (
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"github.com/innermesh/innermesh/mesh"
)

// Every page is shown to people, wide and narrow, in the light and in the dark. What
// can be checked without eyes is: nothing is wider than the window.
func TestPictures(t *testing.T) {
	chromium(t)
	s := openShop(t, mesh.AdminOptions{Addr: "127.0.0.1:0", Actions: true})
	x := open(t, s.base)
	pages := map[string]string{
		"overview": "", "inventory": "upstream?service=inventory", "payments": "upstream?service=payments", "topology": "topology",
		"events": "events", "configuration": "configuration", "security": "security", "work": "work",
		"explain": "explain?url=http://payments/charge",
	}
	x.visit("")
	x.do(chromedp.Sleep(time.Minute)) // a past to draw
	for _, theme := range []string{"light", "dark"} {
		x.do(emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: theme}}))
		for name, path := range pages {
			for _, width := range []int64{1600, 360} {
				x.size(width, 900)
				x.visit(path)
				x.do(chromedp.Sleep(300 * time.Millisecond))
				x.shoot(name+"-"+theme+"-"+map[int64]string{1600: "wide", 360: "narrow"}[width], width, 2400)
				if over := eval[int](x, "document.documentElement.scrollWidth - document.documentElement.clientWidth"); over > 0 {
					t.Errorf("%s is %d pixels wider than a window of %d", name, over, width)
				}
			}
		}
	}
}
