package route

import (
	"strconv"

	"github.com/innermesh/innermesh/policy"
)

// Key is what a limit tells calls apart by, ready for use.
type Key struct{ names []Name }

// NewKey compiles the names that a policy lists.
func NewKey(by []string) Key {
	var k Key
	for _, name := range by {
		k.names = append(k.names, NewName(name))
	}
	return k
}

// Of returns the key of a call, empty if all have the same. Its parts have their
// lengths in it, so that no two lists of values make the same.
func (k Key) Of(r Request, affinity, priority string) string {
	if len(k.names) == 0 {
		return ""
	}
	var room [64]byte
	key := room[:0]
	for _, name := range k.names {
		var value string
		switch name.Lower {
		case policy.ByAffinity:
			value = affinity
		case policy.ByPriority:
			value = priority
		default:
			value, _ = r.HeaderValue(name)
		}
		key = append(strconv.AppendInt(key, int64(len(value)), 10), ':')
		key = append(key, value...)
	}
	return string(key)
}
