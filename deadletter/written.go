package deadletter

import (
	"maps"
	"net/http"
	"slices"
	"unicode/utf8"
)

// plain is a letter without its methods.
type plain Letter

// written is a letter as JSON. JSON has no bytes, and headers may have any: those
// that are no UTF-8 stand apart.
type written struct {
	plain

	HeaderBytes map[string][][]byte `json:"headerBytes,omitzero"`
}

func write(l Letter) written {
	w := written{plain: plain(l)}
	for name, values := range l.Header {
		if !slices.ContainsFunc(values, func(v string) bool { return !utf8.ValidString(v) }) {
			continue
		}
		if w.HeaderBytes == nil {
			w.HeaderBytes = map[string][][]byte{}
			w.Header = maps.Clone(l.Header)
		}
		delete(w.Header, name)
		for _, v := range values {
			w.HeaderBytes[name] = append(w.HeaderBytes[name], []byte(v))
		}
	}
	return w
}

func (w *written) letter() Letter {
	l := Letter(w.plain)
	for name, values := range w.HeaderBytes {
		if l.Header == nil {
			l.Header = http.Header{}
		}
		for _, v := range values {
			l.Header[name] = append(l.Header[name], string(v))
		}
	}
	return l
}
