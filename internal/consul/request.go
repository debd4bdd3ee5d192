package consul

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Get asks once. A thing that is not there (404) is not an error: Found is false.
// Result.Err is not used.
//
// path is escaped, as in "/v1/health/service/" + url.PathEscape(name).
func (c *Client) Get(ctx context.Context, path string, params url.Values) (Result, error) {
	return c.get(ctx, path, params, time.Minute)
}

// GetChanged asks for one of the agent's own things, those that have a hash. It
// answers at once if hash is empty or no longer that of the content, or when the
// content changes, or after wait. So does an agent that ends, with an error:
// whoever keeps asking knows at once when it has forgotten.
func (c *Client) GetChanged(ctx context.Context, path, hash string, wait time.Duration) (Result, error) {
	if hash == "" {
		return c.get(ctx, path, nil, promptly)
	}
	params := url.Values{"hash": {hash}, "wait": {wait.String()}}
	return c.get(ctx, path, params, patienceFor(wait))
}

func (c *Client) get(ctx context.Context, path string, params url.Values, patience time.Duration) (Result, error) {
	a, err := c.single(ctx, http.MethodGet, path, params, nil, patience)
	if err != nil {
		return Result{}, err
	}
	return Result{Body: a.body, Found: a.status == http.StatusOK, Index: a.index, Hash: a.hash}, nil
}

// Put sends body as JSON, or nothing if it is nil.
func (c *Client) Put(ctx context.Context, path string, params url.Values, body any) error {
	_, err := c.PutFor(ctx, path, params, body)
	return err
}

// PutFor is Put for what is answered with something.
func (c *Client) PutFor(ctx context.Context, path string, params url.Values, body any) ([]byte, error) {
	var data []byte
	if body != nil {
		var err error
		if data, err = json.Marshal(body); err != nil {
			return nil, fmt.Errorf("PUT %s: %w", path, err)
		}
	}
	a, err := c.single(ctx, http.MethodPut, path, params, data, time.Minute)
	if err == nil && a.status == http.StatusNotFound {
		err = fmt.Errorf("PUT %s: %w", path, c.statusError(a))
	}
	return a.body, err
}

// Post asks a question that is sent as JSON, once.
func (c *Client) Post(ctx context.Context, path string, question any) (Result, error) {
	data, err := json.Marshal(question)
	if err != nil {
		return Result{}, fmt.Errorf("POST %s: %w", path, err)
	}
	a, err := c.single(ctx, http.MethodPost, path, nil, data, time.Minute)
	if err == nil && a.status == http.StatusNotFound {
		err = fmt.Errorf("POST %s: %w", path, c.statusError(a))
	}
	return Result{Body: a.body, Found: true, Index: a.index}, err
}

// single makes one request. It ends with ctx, with the client, or when patience
// does: a minute is for what a leader has to do, because without one Consul takes
// up to 30 s for a sign of life.
func (c *Client) single(ctx context.Context, method, path string, params url.Values, body []byte, patience time.Duration) (answer, error) {
	if c.ctx.Err() != nil {
		return answer{}, ErrClosed
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	stop := context.AfterFunc(c.ctx, cancel)
	defer stop()
	a, err := c.send(ctx, method, path, params, body)
	if err != nil && c.ctx.Err() != nil {
		err = ErrClosed
	}
	return a, err
}

// answer is a complete answer with status 200 or 404.
type answer struct {
	status   int
	body     []byte
	index    uint64 // 0: it had none
	hash     string // of the content; few endpoints have one
	filtered bool   // something was left out for want of permission
	closed   bool   // to those without a token, by default
}

// send makes one request and reads the whole answer. Any status but 200 and 404
// is a [StatusError]. Errors never contain the token.
func (c *Client) send(ctx context.Context, method, path string, params url.Values, body []byte) (answer, error) {
	req, err := c.request(ctx, method, path, params, body)
	if err != nil {
		return answer{}, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return answer{}, fmt.Errorf("%s %s: %w: %w", method, path, ErrUnreachable, unwrapURL(err))
	}
	defer resp.Body.Close() // it was read, or given up on
	data, err := io.ReadAll(io.LimitReader(resp.Body, c.maxBody+1))
	if err != nil {
		return answer{}, fmt.Errorf("%s %s: %w: %w", method, path, ErrUnreachable, err)
	}
	if int64(len(data)) > c.maxBody {
		return answer{}, fmt.Errorf("%s %s: %w: it is larger than %d bytes", method, path, ErrMalformed, c.maxBody)
	}
	a := answer{status: resp.StatusCode, body: data}
	if a.status != http.StatusOK && a.status != http.StatusNotFound {
		return answer{}, fmt.Errorf("%s %s: %w", method, path, c.statusError(a))
	}
	if index, err := strconv.ParseUint(resp.Header.Get("X-Consul-Index"), 10, 64); err == nil {
		a.index = max(index, 1) // 0 would mean "do not block", and spin
	}
	a.hash = resp.Header.Get("X-Consul-Contenthash")
	a.filtered = resp.Header.Get("X-Consul-Results-Filtered-By-Acls") == "true"
	a.closed = resp.Header.Get("X-Consul-Default-Acl-Policy") == "deny" && req.Header.Get("X-Consul-Token") == ""
	return a, nil
}

func (c *Client) request(ctx context.Context, method, path string, params url.Values, body []byte) (*http.Request, error) {
	query := url.Values{}
	for name, value := range map[string]string{"dc": c.datacenter, "ns": c.namespace, "partition": c.partition} {
		if value != "" {
			query.Set(name, value)
		}
	}
	maps.Copy(query, params)
	target := c.base.scheme + "://" + c.base.host + c.base.prefix + path
	if encoded := query.Encode(); encoded != "" {
		target += "?" + encoded
	}
	req, err := http.NewRequestWithContext(ctx, method, target, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", method, path, err)
	}
	if token := c.currentToken(); token != "" {
		req.Header.Set("X-Consul-Token", token)
	}
	if c.auth != nil {
		req.SetBasicAuth(c.auth.Username, c.auth.Password)
	}
	return req, nil
}

// statusError shortens what Consul said, and makes sure that the token is not
// in it.
func (c *Client) statusError(a answer) *StatusError {
	const enough = 300
	message := strings.ToValidUTF8(string(a.body[:min(len(a.body), 16*enough)]), "")
	if token := c.currentToken(); token != "" {
		message = strings.ReplaceAll(message, token, "[token]")
	}
	message = strings.ToValidUTF8(message[:min(len(message), enough)], "")
	return &StatusError{Code: a.status, Message: strings.TrimSpace(message)}
}

// unwrapURL takes off net/http's wrapping, which repeats the address with all
// parameters.
func unwrapURL(err error) error {
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		return wrapped.Err
	}
	return err
}
