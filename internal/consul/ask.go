package consul

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// ask makes one blocking query, or one that returns at once if index is 0, and
// checks that the answer can be believed. The error is errTurn if it has to make
// room for others.
func (w *watch) ask(ctx context.Context, index uint64) (answer, error) {
	mode, patience := "stale", promptly
	if w.query.Read == Cached {
		mode, patience = "cached", fromCache
	}
	params := w.params(mode)
	if index > 0 {
		wait, room := w.client.wait, w.client.room()
		if room != nil && room.Err() != nil {
			wait, room = min(wait, turn), nil
		}
		params.Set("index", strconv.FormatUint(index, 10))
		params.Set("wait", wait.String())
		a, err := w.block(ctx, room, params, patienceFor(wait))
		if err != nil {
			return a, err
		}
		return w.confirm(ctx, a)
	}
	a, err := w.read(ctx, params, patience)
	switch {
	case err == nil:
		return w.confirm(ctx, a)
	case errors.Is(err, errSilent) && w.query.Read == Cached:
		// An agent goes on filling its cache, without a word, for a token that
		// nobody knows; the servers say so.
		if _, why := w.read(ctx, w.params("stale"), fromCache); errors.Is(why, ErrPermission) {
			err = why
		}
	}
	return a, err
}

// confirm asks once more if a list is empty that was not, and why it is if that
// is all we have: of what a token may not see only an answer that comes from
// neither cache nor stream says that it was left out.
func (w *watch) confirm(ctx context.Context, a answer) (answer, error) {
	if !w.query.ConfirmEmpty || !emptyList(a.body) {
		return a, nil
	}
	now := w.now()
	wasFull := now.good.Found && !emptyList(now.good.Body)
	switch {
	case wasFull:
		again, err := w.read(ctx, w.params("consistent"), promptly)
		if err != nil {
			return again, fmt.Errorf("confirm that the list became empty: %w", err)
		}
		a = again
	case now.answers == 0 || now.err != nil:
		again, err := w.read(ctx, w.params("stale"), promptly)
		if errors.Is(err, ErrPermission) {
			return again, err
		}
		if err == nil {
			a = again
		}
	}
	if !emptyList(a.body) {
		return a, nil
	}
	if a.filtered {
		return a, fmt.Errorf("%s %s: %w: of the answer nothing is left that it may see: give it service:read and node:read",
			w.query.method(), w.query.Path, ErrPermission)
	}
	if a.closed {
		w.client.warnNoToken(w.query.Path)
	}
	return a, nil
}

// params are those of the query and of the consistency wanted.
func (w *watch) params(mode string) url.Values {
	params := url.Values{mode: {""}}
	maps.Copy(params, w.query.Params)
	if w.query.Datacenter != "" {
		params.Set("dc", w.query.Datacenter)
	}
	return params
}

// block asks when it is our turn, and ends with the room there is.
func (w *watch) block(ctx, room context.Context, params url.Values, patience time.Duration) (answer, error) {
	leave, err := enter(ctx, w.client.turns.blocking)
	if err != nil {
		return answer{}, err
	}
	defer leave()
	if room == nil {
		return w.send(ctx, params, patience)
	}
	roomy, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(room, cancel)
	defer stop()
	a, err := w.send(roomy, params, patience)
	if err != nil && room.Err() != nil && ctx.Err() == nil {
		err = errTurn
	}
	return a, err
}

// errSilent is for those who need to know that it was our patience that ended.
var errSilent = errors.New("no answer within")

// read asks for what is answered at once.
func (w *watch) read(ctx context.Context, params url.Values, patience time.Duration) (answer, error) {
	leave, err := enter(ctx, w.client.turns.prompt)
	if err != nil {
		return answer{}, err
	}
	defer leave()
	return w.send(ctx, params, patience)
}

func (w *watch) send(ctx context.Context, params url.Values, patience time.Duration) (answer, error) {
	limited, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	method, path := w.query.method(), w.query.Path
	a, err := w.client.send(limited, method, path, params, w.query.Body)
	switch {
	case err != nil && limited.Err() != nil && ctx.Err() == nil:
		// Our own patience is no deadline of a caller: it must not look like one.
		return a, fmt.Errorf("%s %s: %w: %w %v", method, path, ErrUnreachable, errSilent, patience)
	case err != nil:
		return a, err
	case a.index == 0 && a.status == http.StatusNotFound: // no such endpoint
		return a, fmt.Errorf("%s %s: %w", method, path, w.client.statusError(a))
	case a.index == 0:
		return a, fmt.Errorf("%s %s: %w: it has no X-Consul-Index", method, path, ErrMalformed)
	case a.status == http.StatusNotFound:
		a.body = nil
	case !json.Valid(a.body):
		return a, fmt.Errorf("%s %s: %w: it is not JSON", method, path, ErrMalformed)
	}
	return a, nil
}

func emptyList(body []byte) bool {
	body = bytes.TrimSpace(body)
	if len(body) >= 2 && body[0] == '[' && body[len(body)-1] == ']' {
		return len(bytes.TrimSpace(body[1:len(body)-1])) == 0
	}
	return len(body) == 0 || bytes.Equal(body, []byte("null"))
}

// patienceFor is how long to wait for an answer that the server may delay that long.
func patienceFor(wait time.Duration) time.Duration { return wait + wait/16 + margin }
