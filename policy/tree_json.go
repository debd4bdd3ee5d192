package policy

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// parseJSON reads token by token, because [encoding/json] does not see that a
// key comes twice and does not tell where a value is.
func parseJSON(r *report) node {
	p := jsonParser{report: r, tokens: json.NewDecoder(bytes.NewReader(r.data))}
	p.tokens.UseNumber()
	n := p.value("")
	if offset, err := syntax(r.data); err != nil && !p.broken {
		r.faultf(offset, "", "%v", err) // what stands after the end
	}
	return n
}

type jsonParser struct {
	*report
	tokens *json.Decoder
	depth  int  // how many objects and lists are open
	broken bool // nothing can be read from here on
}

func (p *jsonParser) value(path string) node {
	n := node{at: p.next()}
	token, ok := p.token(path)
	if !ok {
		return n
	}
	switch t := token.(type) {
	case nil:
		n.kind = null
	case bool:
		n.kind, n.text = boolean, strconv.FormatBool(t)
	case json.Number:
		n.kind, n.text = number, t.String()
	case string:
		n.kind, n.text = text, t
	case json.Delim:
		if t == '[' {
			p.list(path, &n)
		} else {
			p.object(path, &n)
		}
	}
	return n
}

func (p *jsonParser) list(path string, n *node) {
	n.kind = list
	for p.more() {
		n.items = append(n.items, p.value(element(path, len(n.items))))
	}
	p.token(path)
}

func (p *jsonParser) object(path string, n *node) {
	n.kind = object
	for p.more() {
		at := p.next()
		token, ok := p.token(path)
		if !ok {
			return
		}
		name, _ := token.(string) // a key, or token would have refused it
		n.keys = append(n.keys, key{name, at})
		n.items = append(n.items, p.value(member(path, name)))
	}
	p.token(path)
}

// token returns the next token. If there is none to be had, because the
// document is not JSON from here on or too deep, it notes that and returns
// false.
func (p *jsonParser) token(path string) (json.Token, bool) {
	if p.broken {
		return nil, false
	}
	at := p.next()
	token, err := p.tokens.Token()
	if err != nil {
		// The decoder's own offset is that of the token; the exact one, and
		// the same words for all syntax errors, come from reading it whole.
		if offset, exact := syntax(p.data); exact != nil {
			at, err = offset, exact
		}
		p.breakf(at, path, "%v", err)
		return nil, false
	}
	switch token {
	case json.Delim('{'), json.Delim('['):
		p.depth++
	case json.Delim('}'), json.Delim(']'):
		p.depth--
	}
	if p.depth > maxDepth {
		p.breakf(at, path, "%v", errTooDeep)
		return nil, false
	}
	return token, true
}

func (p *jsonParser) breakf(at int, path, format string, args ...any) {
	p.broken = true
	p.faultf(at, path, format, args...)
}

func (p *jsonParser) more() bool { return !p.broken && p.tokens.More() }

// next returns where the next token begins.
func (p *jsonParser) next() int {
	rest := p.data[p.tokens.InputOffset():]
	return len(p.data) - len(bytes.TrimLeft(rest, " \t\r\n,:"))
}

// syntax says where and why data is not one JSON value.
func syntax(data []byte) (offset int, err error) {
	err = json.Unmarshal(data, new(json.RawMessage))
	if s, ok := errors.AsType[*json.SyntaxError](err); ok {
		// Offset counts the bytes read, the offending one included; at the
		// end of the input there is none.
		offset = min(int(s.Offset), len(data))
		if !strings.HasPrefix(s.Error(), "unexpected end") {
			offset = max(offset-1, 0)
		}
		return offset, fmt.Errorf("not JSON: %w", err)
	}
	return 0, err
}
