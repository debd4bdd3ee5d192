package consul

import (
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
)

// Query is what a watch asks for.
type Query struct {
	// Path is the endpoint, escaped, as in "/v1/kv/" + url.PathEscape(key).
	Path string
	// Params are the endpoint's own. Those of blocking and consistency are the
	// watch's affair.
	Params url.Values
	// Body is sent as JSON with a POST, for the endpoints that take their
	// question that way. Default: none, and a GET.
	Body json.RawMessage
	// Datacenter is asked. Default that of the client.
	Datacenter string
	// Read chooses who may answer.
	Read Read
	// ConfirmEmpty: when a list becomes empty, ask once more, consistently, and
	// obey that answer. While it cannot be had the old list stays. Changes of
	// leaders and restarts can make a list look empty for a moment. A list that is
	// empty because the token may not see what is in it is an [ErrPermission].
	ConfirmEmpty bool
}

// Read says who may answer. Both go on answering while Consul has no leader.
type Read uint8

const (
	// Stale: any server, which may be a moment behind. The default.
	Stale Read = iota
	// Cached: the agent itself, which asks the servers once for all the processes
	// of its node. For the endpoints that it refreshes by itself: health,
	// discovery chain, intention match, roots.
	Cached
)

// Result is what a watch tells: an answer, or why there is none.
type Result struct {
	// Body is the answer as it came, valid JSON; empty if nothing was found.
	// It is shared: do not change it.
	Body json.RawMessage
	// Found is false for a thing that does not exist (404).
	Found bool
	// Index is Consul's index of the answer.
	Index uint64
	// Hash is that of the content, if the endpoint has one.
	Hash string
	// Reset is true when this is no later state of what the watch told before:
	// the index went backwards, because Consul has lost its memory or was restored
	// from a snapshot.
	Reset bool
	// Err is set when Consul could not be asked or did not answer well. What was
	// told before stays true.
	Err error
}

// Watch tells the answer to the query, at first and whenever its content has
// changed, until ctx ends, whose error it returns, or the client is closed
// ([ErrClosed]). tell is called from the caller's goroutine. States that follow
// one another quickly may be missed, the last never is.
//
// An error does not end a watch. It is told once for each kind; the answer is
// told again when the trouble is over, even if it is what it was before.
//
// All watches of one query share one blocking query to Consul. A late one is
// told at once what is known; the last to leave ends it.
func (c *Client) Watch(ctx context.Context, q Query, tell func(Result)) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	w, err := c.join(q)
	if err != nil {
		return err
	}
	defer c.leave(w)
	var seen state
	for {
		now := w.now()
		if now.answers != seen.answers {
			told := now.good
			told.Reset = seen.answers > 0 && now.resets != seen.resets
			tell(told)
		}
		if now.err != nil && now.errors != seen.errors && ctx.Err() == nil {
			tell(Result{Err: now.err})
		}
		seen = now
		select {
		case <-now.changed:
		case <-ctx.Done():
			return ctx.Err()
		case <-c.ctx.Done():
			return ErrClosed
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
}

// join finds the watch of the query or starts it.
func (c *Client) join(q Query) (*watch, error) {
	q.Params = maps.Clone(q.Params)
	key := q.key()
	c.mu.Lock()
	defer c.mu.Unlock()
	w := c.watches[key]
	if w == nil {
		w = newWatch(c, q)
		stop, err := c.run(w.loop)
		if err != nil {
			return nil, err
		}
		w.key, w.stop = key, stop
		c.watches[key] = w
		c.turns.count(len(c.watches))
		c.warnIfMany()
	}
	w.subscribers++
	return w, nil
}

// leave ends the watch if it was the last; then it returns when the query is
// gone.
func (c *Client) leave(w *watch) {
	c.mu.Lock()
	w.subscribers--
	last := w.subscribers == 0
	if last {
		delete(c.watches, w.key)
		c.turns.count(len(c.watches))
	}
	c.mu.Unlock()
	if last {
		w.stop()
		c.outage.ends(w) // nobody waits for its answer any more
	}
}

// warnIfMany says once when there are more watches than connections for them. The
// caller holds the lock.
func (c *Client) warnIfMany() {
	if n := len(c.watches); n > blocking && !c.warnedCount && !c.multiplex {
		c.warnedCount = true
		c.log.Warn("more is watched in Consul than there are connections for, of which an agent takes so many from one address: "+
			"watches take turns and changes arrive later; use https, where all watches share one",
			"watches", n, "at_once", blocking, "agent_limit", maxConns)
	}
}

// key is equal for queries that can share an answer. The token and the rest of
// the client's options are the same for all of them.
func (q Query) key() string {
	mode := url.Values{"dc": {q.Datacenter}}
	if q.Read == Cached {
		mode.Set("cached", "")
	}
	if q.ConfirmEmpty {
		mode.Set("confirm", "")
	}
	return q.Path + "?" + q.Params.Encode() + "#" + mode.Encode() + "#" + string(q.Body)
}

func (q Query) method() string {
	if len(q.Body) > 0 {
		return http.MethodPost
	}
	return http.MethodGet
}
