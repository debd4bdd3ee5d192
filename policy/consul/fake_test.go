package consul

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/innermesh/innermesh/internal/consul"
)

// agent is a Consul that knows what the test tells it, as a RoundTripper, so that
// it may live in a synctest bubble.
type agent struct {
	mu      sync.Mutex
	index   uint64
	answers map[string]answer // by path, or path and body of a POST
	changed chan struct{}
	open    map[string]int // questions that are waiting
}

type answer struct {
	status int
	index  uint64
	body   string
}

// set puts an answer in place; an empty body is a 404.
func (a *agent) set(question, body string) {
	a.fail(question, map[bool]int{true: 404, false: 200}[body == ""], body)
}

func (a *agent) fail(question string, status int, body string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.index++
	a.answers[question] = answer{status, a.index, body}
	close(a.changed)
	a.changed = make(chan struct{})
}

func (a *agent) RoundTrip(req *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return nil, err
	}
	question := strings.TrimSpace(req.URL.Path + " " + string(body))
	index, _ := strconv.ParseUint(req.URL.Query().Get("index"), 10, 64)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.open[question]++
	defer func() { a.open[question]-- }()
	late := time.NewTimer(5 * time.Minute)
	defer late.Stop()
	for {
		answer, ok := a.answers[question]
		if !ok {
			answer.status, answer.index = 404, 1
		}
		changed := a.changed
		if answer.status > 404 || answer.status == 403 || index < answer.index {
			resp := &http.Response{StatusCode: answer.status, Header: http.Header{}, Request: req, Body: io.NopCloser(strings.NewReader(answer.body))}
			resp.Header.Set("X-Consul-Index", strconv.FormatUint(answer.index, 10))
			return resp, nil
		}
		a.mu.Unlock()
		var end error
		select {
		case <-changed:
		case <-late.C:
			index = 0
		case <-req.Context().Done():
			end = req.Context().Err()
		}
		a.mu.Lock()
		if end != nil {
			return nil, end
		}
	}
}

// asked lists the questions that wait for news.
func (a *agent) asked() map[string]int {
	a.mu.Lock()
	defer a.mu.Unlock()
	open := map[string]int{}
	for q, n := range a.open {
		if n > 0 {
			open[q] = n
		}
	}
	return open
}

const (
	proxyPath  = "/v1/config/proxy-defaults/global"
	callerPath = "/v1/config/service-defaults/shop"
	calleePath = "/v1/config/service-defaults/web"
	chainPath  = "/v1/discovery-chain/web"
)

func (a *agent) client(t *testing.T) *consul.Client {
	t.Helper()
	client, err := consul.New(consul.Options{Address: "fake:8500", Transport: a, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// follow runs a test in a bubble in which shop follows web. updates returns what
// was told since it was asked last.
func follow(t *testing.T, prepare func(a *agent), test func(t *testing.T, a *agent, updates func() []Update)) {
	t.Helper()
	t.Setenv("CONSUL_HTTP_TOKEN_FILE", "")
	synctest.Test(t, func(t *testing.T) {
		a := &agent{index: 10, answers: map[string]answer{}, changed: make(chan struct{}), open: map[string]int{}}
		a.set(chainPath, string(read(t, "testdata/chains/02-service-defaults-http.json")))
		prepare(a)
		client := a.client(t)
		var mu sync.Mutex
		var told []Update
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() {
			done <- New(client, Options{Service: "shop"}).Watch(ctx, "web", func(u Update) {
				mu.Lock()
				defer mu.Unlock()
				told = append(told, u)
			})
		}()
		defer func() {
			cancel()
			if err := <-done; !errors.Is(err, context.Canceled) {
				t.Errorf("Watch returned %v", err)
			}
			if left := a.asked(); len(left) > 0 {
				t.Errorf("still asked after the end: %v", left)
			}
			client.Close()
		}()
		test(t, a, func() []Update {
			time.Sleep(time.Second) // of the bubble
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			since := told
			told = nil
			return since
		})
	})
}
