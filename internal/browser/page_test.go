package browser

import (
	"fmt"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/innermesh/innermesh/mesh"
)

// rows are the visible rows of a table by their first cells.
func (x *tab) rows(table string) []string {
	x.t.Helper()
	return eval[[]string](x, fmt.Sprintf(`[...document.querySelectorAll("#%s tbody tr")].filter(r => !r.hidden).map(r => r.id)`, table))
}

// One reader of the page: it follows the process, sorts, filters, explains, uses the
// keyboard, and changes the theme, without a complaint of the browser's.
func TestPage(t *testing.T) {
	chromium(t)
	s := openShop(t, mesh.AdminOptions{Addr: "127.0.0.1:0", Actions: true})
	x := open(t, s.base)
	x.size(1600, 900)
	x.visit("")
	run := func(name string, f func(t *testing.T)) {
		t.Run(name, func(t *testing.T) {
			x.t = t
			defer func() { x.t = s.t }()
			f(t)
		})
	}

	run("it follows", func(t *testing.T) {
		x.wait(`document.getElementById("live").classList.contains("on")`)
		x.wait(`document.querySelector("#u-sessions td.num")?.dataset.v > 20`) // there were no figures when it was loaded
		before := eval[string](x, `document.getElementById("main").dataset.frames`)
		x.wait(`document.getElementById("main").dataset.frames !== "` + before + `"`)
	})

	run("it sorts", func(t *testing.T) {
		header := `[...document.querySelectorAll("#upstreams thead th button")].find(b => b.textContent.startsWith("%s"))`
		x.do(chromedp.Evaluate(fmt.Sprintf(header, "Calls/s")+".click()", nil))
		if got := x.rows("upstreams"); got[0] != "u-sessions" {
			t.Errorf("most is called %v", got)
		}
		if sorted := eval[string](x, fmt.Sprintf(header, "Calls/s")+`.parentElement.getAttribute("aria-sort")`); sorted != "descending" {
			t.Errorf("aria-sort is %q", sorted)
		}
		x.do(chromedp.Evaluate(fmt.Sprintf(header, "Service")+".click()", nil))
		before := eval[string](x, `document.getElementById("main").dataset.frames`)
		x.wait(`document.getElementById("main").dataset.frames !== "` + before + `"`)
		if got := strings.Join(x.rows("upstreams"), " "); got != "u-inventory u-ledger u-loyalty u-payments u-pricing u-recommendations u-sessions u-shipping" {
			t.Errorf("by name, after news: %s", got)
		}
		if n := eval[int](x, `document.querySelectorAll("[aria-sort]").length`); n != 1 {
			t.Errorf("%d columns say that they are sorted by", n)
		}
	})

	run("it filters", func(t *testing.T) {
		x.do(chromedp.SendKeys("#find", "pay"))
		if got := x.rows("upstreams"); len(got) != 1 || got[0] != "u-payments" {
			t.Errorf("with pay in it: %v", got)
		}
		before := eval[string](x, `document.getElementById("main").dataset.frames`)
		x.wait(`document.getElementById("main").dataset.frames !== "` + before + `"`)
		if got := x.rows("upstreams"); len(got) != 1 || eval[string](x, `document.activeElement.id`) != "find" {
			t.Errorf("news have put an end to it: %v", got)
		}
		x.do(chromedp.SendKeys("#find", "zzz"))
		if eval[bool](x, `document.querySelector("[data-none=upstreams]").hidden`) {
			t.Error("nothing fits, and nobody says so")
		}
		x.do(chromedp.Evaluate(`(f => { f.value = ""; f.dispatchEvent(new Event("input", {bubbles: true})); })(document.getElementById("find"))`, nil), chromedp.Click("#only"))
		if got := strings.Join(x.rows("upstreams"), " "); strings.Contains(got, "pricing") || !strings.Contains(got, "loyalty") {
			t.Errorf("in trouble are %s", got)
		}
	})

	run("it has a keyboard", func(t *testing.T) {
		x.visit("")
		press := func(key string) { x.do(chromedp.KeyEvent(key)) }
		focus := func() string {
			return eval[string](x, `document.activeElement.textContent.trim() || document.activeElement.id`)
		}
		press(kb.Tab)
		if got := focus(); got != "Skip to content" {
			t.Errorf("the first stop is %q", got)
		}
		x.wait(`document.activeElement.getBoundingClientRect().top >= 0`) // it slides in
		seen := map[string]bool{}
		for range 60 {
			press(kb.Tab)
			seen[focus()] = true
			if eval[bool](x, `document.activeElement !== document.body && getComputedStyle(document.activeElement).outlineStyle === "none"`) {
				t.Errorf("nobody sees that %q has the focus", focus())
			}
		}
		for _, want := range []string{"Topology", "Explain", "find", "only", "Service", "inventory"} {
			if !seen[want] {
				t.Errorf("the keyboard does not come to %q", want)
			}
		}
		x.do(chromedp.Focus(`#upstreams thead th button`))
		press(kb.Enter)
		if eval[int](x, `document.querySelectorAll("[aria-sort]").length`) != 1 {
			t.Error("Enter on a header does not sort")
		}
	})

	run("it can be read aloud", func(t *testing.T) {
		for _, path := range []string{"", "upstream?service=payments", "topology", "events", "configuration", "security", "work", "explain?url=http://payments/"} {
			x.visit(path)
			for what, expr := range map[string]string{
				"one main and one header":            `document.querySelectorAll("main").length === 1 && document.querySelectorAll("header").length === 1`,
				"one heading of the first level":     `document.querySelectorAll("h1").length === 1`,
				"a scope for each header of a table": `[...document.querySelectorAll("th")].every(th => th.scope)`,
				"a label for each field":             `[...document.querySelectorAll("input:not([type=hidden]), select, textarea")].every(i => i.labels.length)`,
				"a name for each region":             `[...document.querySelectorAll("[role=region], nav")].every(r => r.hasAttribute("aria-label") || r.hasAttribute("aria-labelledby"))`,
				"every id once":                      `new Set([...document.querySelectorAll("[id]")].map(e => e.id)).size === document.querySelectorAll("[id]").length`,
				"a name for each link and button":    `[...document.querySelectorAll("a, button")].every(e => (e.textContent.trim() || e.getAttribute("aria-label")))`,
			} {
				if !eval[bool](x, expr) {
					t.Errorf("%q has not %s", path, what)
				}
			}
		}
	})

	run("it explains", func(t *testing.T) {
		x.visit("explain")
		x.do(chromedp.SendKeys(`input[name=url]`, "http://payments/charge"), chromedp.Click(`form.ask button`), chromedp.WaitVisible(`.answer`))
		if text := eval[string](x, `document.querySelector(".answer").textContent`); !strings.Contains(text, "canary") || !strings.Contains(text, "payments-3") {
			t.Errorf("the answer: %s", text)
		}
		x.visit("explain?url=http://outside.example.com/")
		if text := eval[string](x, `document.querySelector("[role=alert]").textContent`); !strings.Contains(text, "outside.example.com") {
			t.Errorf("of what is outside it says %q", text)
		}
	})

	run("it draws who calls whom", func(t *testing.T) {
		x.visit("topology")
		x.wait(`document.querySelectorAll("#graph .node").length === 9 && document.querySelectorAll("#graph .edge path").length === 8`)
		x.do(chromedp.Evaluate(`[...document.querySelectorAll("#graph a")].find(a => a.textContent.includes("payments")).dispatchEvent(new MouseEvent("click", {bubbles: true, cancelable: true}))`, nil))
		x.wait(`location.href.endsWith("upstream?service=payments") && document.readyState === "complete"`)
	})

	run("it puts an instance back", func(t *testing.T) {
		x.visit("upstream?service=recommendations")
		x.wait(`[...document.querySelectorAll("form[action=forgive] button")].length > 0`)
		x.do(chromedp.Evaluate(`window.before = true; document.querySelector("form[action=forgive] button").click()`, nil))
		x.wait(`!window.before && document.readyState === "complete" && location.href.endsWith("upstream?service=recommendations")`)
		x.visit("events")
		x.wait(`document.getElementById("main").textContent.includes("put back into rotation by hand")`)
	})

	run("it is light and dark", func(t *testing.T) {
		paper := func() string { return eval[string](x, `getComputedStyle(document.body).backgroundColor`) }
		prefer := func(theme string) {
			x.do(emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: theme}}))
		}
		x.visit("")
		prefer("light")
		light := paper()
		prefer("dark")
		if dark := paper(); dark == light {
			t.Errorf("both are %s", light)
		}
		x.do(chromedp.Click("#theme"))
		if got := paper(); got != light {
			t.Errorf("with light chosen it is %s", got)
		}
		x.visit("topology")
		if got := paper(); got != light {
			t.Errorf("what was chosen is forgotten on the next page: %s", got)
		}
		x.do(chromedp.Evaluate(`localStorage.clear()`, nil))
	})

	run("it ends with the mesh", func(t *testing.T) {
		x.visit("")
		x.wait(`document.getElementById("live").classList.contains("on")`)
		x.do(input.DispatchMouseEvent(input.MouseMoved, 1, 1)) // and nobody waits for a reader who is still there
		if err := s.Close(t.Context()); err != nil {
			t.Error(err)
		}
		x.wait(`document.getElementById("live").classList.contains("off")`)
	})
}
