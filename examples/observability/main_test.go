package main

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// The shop serves its metrics, and most of its visitors.
func TestShop(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	out, in := io.Pipe()
	done := make(chan error, 1)
	go func() {
		err := run(ctx, in, "127.0.0.1:0", 20)
		done <- err
		_ = in.CloseWithError(err)
	}()
	lines := bufio.NewScanner(out)
	lines.Scan()
	first, _, _ := strings.Cut(strings.TrimPrefix(lines.Text(), "metrics at "), ",")
	missing := []string{"innermesh_client_attempts_total", "http_client_request_duration_seconds_bucket", "innermesh_tls_expiry_seconds"}
	for ctx.Err() == nil && len(missing) > 0 {
		res, err := new(http.Client).Get(first)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		missing = slices.DeleteFunc(missing, func(name string) bool { return strings.Contains(string(body), name) })
	}
	if len(missing) > 0 {
		t.Errorf("no %v in what is served at %s", missing, first)
	}
	if !lines.Scan() || !strings.Contains(lines.Text(), "visitors were served") {
		t.Errorf("it ends with %q", lines.Text())
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}
