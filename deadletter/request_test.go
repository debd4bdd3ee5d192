package deadletter_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/innermesh/innermesh/deadletter"
)

func post(t *testing.T, url, body string) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	return req
}

func TestLetterOfARequest(t *testing.T) {
	req := post(t, "http://user:hunter22@orders:80/a%2Fb?x=1&token=abcdefgh&y=2#part", "body")
	req.Host = "shop.example"
	req.Header.Set("Content-Type", "text/plain")
	for _, name := range deadletter.SecretHeaders() {
		req.Header.Set(name, "secret-value")
	}
	req.Header.Set("X-My-Own", "secret-value")
	req.Header.Set("X-Upload-Token-2", "secret-value")
	req.Header.Set("Traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	l, err := deadletter.NewLetter(req, deadletter.RequestOptions{
		Secrets: deadletter.Secrets{Headers: []string{"x-my-own"}, Params: []string{"Y"}},
		Keep:    time.Hour, Labels: map[string]string{"team": "shop"},
		Trace: func(_ context.Context, h http.Header) { h.Set("Tracestate", "a=b") },
	})
	if err != nil {
		t.Fatal(err)
	}
	data, err := deadletter.Encode(l)
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{"secret-value", "hunter22", "abcdefgh", "y=2"} {
		if strings.Contains(string(data), secret) {
			t.Errorf("%q is in the letter: %s", secret, data)
		}
	}
	for _, name := range []string{"Authorization", "Cookie", "X-Consul-Token", "X-My-Own", "X-Upload-Token-2", "token", "y", "userinfo"} {
		if !slices.Contains(l.Removed, name) {
			t.Errorf("%s is not named among what was removed: %v", name, l.Removed)
		}
	}
	if l.URL != "http://orders:80/a%2Fb?x=1" || l.Service != "orders" || l.Method != http.MethodPost || string(l.Body) != "body" {
		t.Errorf("got %q %q %q %q", l.URL, l.Service, l.Method, l.Body)
	}
	if !l.Expires.Equal(l.Created.Add(time.Hour)) || l.Labels["team"] != "shop" || l.Key == "" || len(l.Trace) != 2 {
		t.Errorf("got %v, %v, %q, %v", l.Expires, l.Labels, l.Key, l.Trace)
	}

	again, err := l.Request(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(again.Body)
	if again.URL.String() != l.URL || again.Host != "shop.example" || string(body) != "body" || again.GetBody == nil ||
		again.Header.Get("Idempotency-Key") != l.Key || again.Header.Get("Content-Type") != "text/plain" ||
		again.Header.Get("Traceparent") == "" || again.Header.Get("Host") != "" {
		t.Errorf("got %s of %s, %v, %q", again.URL, again.Host, again.Header, body)
	}
	again.Header.Set("Content-Type", "changed")
	if l.Header.Get("Content-Type") != "text/plain" {
		t.Error("the request has the letter's own headers")
	}
}

func TestLetterKeepsWhatIsAsked(t *testing.T) {
	req := post(t, "http://orders/?token=page2", "")
	req.Header.Set("X-Continuation-Token", "page2")
	req.Header.Set("Idempotency-Key", "mine")
	l, err := deadletter.NewLetter(req, deadletter.RequestOptions{Secrets: deadletter.Secrets{Keep: []string{"x-continuation-token", "token"}}})
	if err != nil {
		t.Fatal(err)
	}
	if l.Header.Get("X-Continuation-Token") != "page2" || l.URL != "http://orders/?token=page2" || l.Key != "mine" || len(l.Removed) != 0 {
		t.Errorf("got %v, %s, %s, %v", l.Header, l.URL, l.Key, l.Removed)
	}
}

func TestLetterOfALongBody(t *testing.T) {
	closed := false
	req := post(t, "http://orders/", "")
	req.Body = body{strings.NewReader("12345"), func() { closed = true }}
	_, err := deadletter.NewLetter(req, deadletter.RequestOptions{MaxBody: 4})
	if !errors.Is(err, deadletter.ErrTooLarge) || !closed {
		t.Errorf("got %v, closed: %t", err, closed)
	}
	if _, err := deadletter.NewLetter(post(t, "http://orders/", "1234"), deadletter.RequestOptions{MaxBody: 4}); err != nil {
		t.Errorf("a body as long as may be: %v", err)
	}
}

func TestLetterOfABrokenBody(t *testing.T) {
	req := post(t, "http://orders/", "")
	broken := errors.New("broken")
	req.Body = body{io.MultiReader(strings.NewReader("1"), failing{broken}), func() {}}
	if _, err := deadletter.NewLetter(req, deadletter.RequestOptions{}); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
}

type body struct {
	io.Reader
	closed func()
}

func (b body) Close() error {
	b.closed()
	return nil
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }
