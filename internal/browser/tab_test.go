package browser

import (
	"context"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// tab is a browser with one page open, and everything it complained about.
type tab struct {
	t    *testing.T
	ctx  context.Context
	base string

	mu     sync.Mutex
	faults []string
}

// open starts a browser. What it complains of fails the test, and so does every
// request to anybody but the page's own server.
func open(t *testing.T, base string, flags ...chromedp.ExecAllocatorOption) *tab {
	t.Helper()
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(chromium(t)), chromedp.UserDataDir(t.TempDir()),
		chromedp.Flag("no-sandbox", true), // as root, which build machines are, there is no other way
		chromedp.Flag("no-proxy-server", true), chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("force-color-profile", "srgb"), chromedp.WSURLReadTimeout(60*time.Second),
	)
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Minute)
	ctx, release := chromedp.NewExecAllocator(ctx, append(options, flags...)...)
	ctx, end := chromedp.NewContext(ctx)
	x := &tab{t: t, ctx: ctx, base: base}
	t.Cleanup(func() {
		if err := chromedp.Cancel(ctx); err != nil {
			t.Errorf("end the browser: %v", err)
		}
		end()
		release()
		cancel()
		x.mu.Lock()
		defer x.mu.Unlock()
		for _, f := range x.faults {
			t.Error(f)
		}
	})
	chromedp.ListenTarget(ctx, x.hear)
	x.do(network.Enable(), log.Enable(), runtime.Enable())
	return x
}

// hear takes in what the browser tells of.
func (x *tab) hear(event any) {
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		x.fault("exception: " + e.ExceptionDetails.Error())
	case *runtime.EventConsoleAPICalled:
		for _, a := range e.Args {
			x.fault("console: " + string(e.Type) + " " + string(a.Value))
		}
	case *log.EventEntryAdded:
		if e.Entry.Level == log.LevelError || e.Entry.Level == log.LevelWarning {
			x.fault("log: " + e.Entry.Text + " " + e.Entry.URL)
		}
	case *network.EventRequestWillBeSent:
		if u, err := url.Parse(e.Request.URL); err != nil || u.Scheme != "data" && !strings.HasPrefix(e.Request.URL, x.base) {
			x.fault("request to somebody else: " + e.Request.URL)
		}
	}
}

func (x *tab) fault(text string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.faults = append(x.faults, text)
}

// do carries out actions.
func (x *tab) do(actions ...chromedp.Action) {
	x.t.Helper()
	if err := chromedp.Run(x.ctx, actions...); err != nil {
		x.t.Fatal(err)
	}
}

// visit opens a page of the mesh.
func (x *tab) visit(path string) {
	x.t.Helper()
	x.do(chromedp.Navigate(x.base + path))
}

// size makes the window so large.
func (x *tab) size(width, height int64) {
	x.t.Helper()
	x.do(emulation.SetDeviceMetricsOverride(width, height, 1, false))
}

// eval returns what an expression is on the page.
func eval[T any](x *tab, expr string) (v T) {
	x.t.Helper()
	x.do(chromedp.Evaluate(expr, &v))
	return v
}

// wait waits until an expression is true on the page, also on another one that is
// being loaded.
func (x *tab) wait(expr string) {
	x.t.Helper()
	look := time.NewTicker(50 * time.Millisecond)
	defer look.Stop()
	until := time.After(30 * time.Second)
	for {
		var is bool
		err := chromedp.Run(x.ctx, chromedp.Evaluate("!!("+expr+")", &is))
		if err == nil && is {
			return
		}
		select {
		case <-look.C:
		case <-until:
			x.t.Fatalf("it does not come to %s: %v", expr, err)
		}
	}
}

// shoot writes a picture of the whole page, up to a height, for people to look at.
func (x *tab) shoot(name string, width, most int64) {
	x.t.Helper()
	height := min(eval[int64](x, "document.documentElement.scrollHeight"), most)
	var png []byte
	x.do(chromedp.ActionFunc(func(ctx context.Context) (err error) {
		png, err = page.CaptureScreenshot().WithCaptureBeyondViewport(true).
			WithClip(&page.Viewport{Width: float64(width), Height: float64(height), Scale: 1}).Do(ctx)
		return err
	}))
	path := filepath.Join(pictures(x.t), name+".png")
	if err := os.WriteFile(path, png, 0o600); err != nil {
		x.t.Fatal(err)
	}
	x.t.Logf("picture: %s", path)
}

// pictures is where they go.
func pictures(t *testing.T) string {
	t.Helper()
	if dir := os.Getenv("PICTURES"); dir != "" {
		return dir
	}
	return t.ArtifactDir()
}
