package consul

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
)

// KV is what [Client.WatchKV] tells of a key.
type KV struct {
	// Value is the value; a key may exist with an empty one.
	Value []byte
	// Found is false when there is no such key.
	Found bool
	// Index is Consul's index of the last writing, or of the query if the key
	// is not there.
	Index uint64
	// Err is set when the key could not be read. What was told before stays true.
	Err error
}

// WatchKV tells the value of a key, at first and whenever it has changed; a
// writing of the same value is no change. Otherwise it is [Client.Watch].
func (c *Client) WatchKV(ctx context.Context, key string, tell func(KV)) error {
	segments := strings.Split(key, "/")
	for i, s := range segments {
		segments[i] = url.PathEscape(s)
	}
	var last *KV // nil: nothing told yet, or an error
	return c.Watch(ctx, Query{Path: "/v1/kv/" + strings.Join(segments, "/")}, func(r Result) {
		kv := decodeKV(r)
		if kv.Err != nil {
			kv.Err = fmt.Errorf("read key %q: %w", key, kv.Err)
			last = nil
		} else {
			if last != nil && last.Found == kv.Found && bytes.Equal(last.Value, kv.Value) {
				return
			}
			last = &kv
		}
		tell(kv)
	})
}

func decodeKV(r Result) KV {
	if r.Err != nil || !r.Found {
		return KV{Index: r.Index, Err: r.Err}
	}
	var pairs []struct {
		Value       []byte `json:"Value"` // base64
		ModifyIndex uint64 `json:"ModifyIndex"`
	}
	if err := json.Unmarshal(r.Body, &pairs); err != nil {
		return KV{Err: fmt.Errorf("%w: %w", ErrMalformed, err)}
	}
	if len(pairs) != 1 {
		return KV{Err: fmt.Errorf("%w: %d values for one key", ErrMalformed, len(pairs))}
	}
	return KV{Value: pairs[0].Value, Found: true, Index: pairs[0].ModifyIndex}
}
