package policy

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
	"go.yaml.in/yaml/v4/plugin/loaderlimits"
)

// parseYAML takes the library's tree, which has the place of each value, and
// nothing else of it: what a word without quotes means is decided here.
func parseYAML(r *report) node {
	if !r.plainYAML() {
		return node{}
	}
	p := yamlParser{report: r, cursor: cursor{data: r.data, line: 1, column: 1}}
	root, ok := p.load()
	if !ok {
		return node{}
	}
	return p.node("", root, 1)
}

// plainYAML refuses what one reader of YAML takes for a line break or skips and
// another does not, and directives. It looks at the characters alone.
func (r *report) plainYAML() bool {
	for i, c := range string(r.data) {
		directive := c == '%' && (i == 0 || r.data[i-1] == '\n')
		lone := c == '\r' && !bytes.HasPrefix(r.data[i+1:], []byte("\n"))
		switch {
		case directive:
			r.faultf(i, "", "a directive is not allowed: no line may begin with %%")
		case lone, c != '\r' && !printable(c):
			r.faultf(i, "", "character %U is not allowed in YAML: write %+q in double quotes", c, c)
		default:
			continue
		}
		return false
	}
	return true
}

func printable(c rune) bool {
	switch {
	case c == '\t', c == '\n', c >= ' ' && c <= '~', c >= 0xa0 && c <= 0xd7ff, c >= 0xe000 && c <= 0xfffd, c > 0xffff:
		return c != '\u2028' && c != '\u2029' && c != '\ufeff'
	default:
		return false
	}
}

type yamlParser struct {
	*report
	cursor cursor
}

// load reads the one document that there must be.
func (p *yamlParser) load() (root *yaml.Node, ok bool) {
	defer func() {
		// A policy comes from the outside and reaches all processes at once.
		// None of them may end because of a mistake in the library.
		if v := recover(); v != nil {
			p.faultf(0, "", "can not be read as YAML, and this should not have happened: %s", shorten(fmt.Sprint(v)))
			root, ok = nil, false
		}
	}()
	tooDeep := func(depth int, _ *yaml.DepthContext) error {
		if depth > maxDepth {
			return errTooDeep
		}
		return nil
	}
	loader, err := yaml.NewLoader(bytes.NewReader(p.data), yaml.WithUniqueKeys(false),
		yaml.WithPlugin(loaderlimits.New(loaderlimits.DepthFunc(tooDeep), loaderlimits.AliasNone())))
	if err != nil {
		p.faultf(0, "", "can not be read as YAML: %v", err)
		return nil, false
	}
	var first, second yaml.Node
	switch err := loader.Load(&first); {
	case errors.Is(err, io.EOF):
		p.faultf(0, "", "%s", emptyDocument)
		return nil, false
	case err != nil:
		p.syntax(err)
		return nil, false
	}
	switch err := loader.Load(&second); {
	case errors.Is(err, io.EOF):
	case err != nil:
		p.syntax(err)
		return nil, false
	default:
		p.faultf(p.cursor.at(second.Line, second.Column), "", "a second document is not allowed: keep one")
		return nil, false
	}
	root = &first
	if root.Kind == yaml.DocumentNode && len(root.Content) == 1 {
		root = root.Content[0]
	}
	if root.Kind == yaml.ScalarNode && root.Value == "" && root.Style == 0 && root.Anchor == "" {
		p.faultf(0, "", "%s", emptyDocument) // comments and dashes alone
		return nil, false
	}
	return root, true
}

// syntax notes why the library could not read the document.
func (p *yamlParser) syntax(err error) {
	e, ok := errors.AsType[*yaml.LoadError](err)
	if !ok {
		p.faultf(len(p.data), "", "not YAML: %v", err)
		return
	}
	at := p.cursor.at(e.Mark.Line, e.Mark.Column)
	switch {
	case e.Message == errTooDeep.Error(): // the library keeps the words alone
		p.faultf(at, "", "%v", errTooDeep)
	case at < len(p.data) && p.data[at] == '\t':
		p.faultf(at, "", "not YAML: a tab can not indent a line: use spaces")
	default:
		p.faultf(at, "", "not YAML: %s", strings.TrimSpace(e.Message+" "+e.ContextMsg))
	}
}

// node turns a node of the library into one of ours. Nodes are asked for in the
// order of the document.
func (p *yamlParser) node(path string, y *yaml.Node, depth int) node {
	n := node{at: p.cursor.at(y.Line, y.Column)}
	refused := ""
	switch {
	case p.full:
		return n
	case y.Kind == yaml.AliasNode:
		refused = "an alias is not allowed: write the value out"
	case y.Anchor != "":
		refused = "an anchor is not allowed: write the value where it is needed"
	case y.Style&yaml.TaggedStyle != 0 || y.Tag == "!":
		refused = "a tag is not allowed: leave it out"
	case y.Kind != yaml.ScalarNode && depth > maxDepth:
		refused = errTooDeep.Error()
	}
	if refused != "" {
		p.faultf(n.at, path, "%s", refused)
		return n
	}
	switch y.Kind {
	case yaml.SequenceNode:
		n.kind = list
		for i, item := range y.Content {
			n.items = append(n.items, p.node(element(path, i), item, depth+1))
		}
	case yaml.MappingNode:
		n.kind = object
		p.object(path, &n, y.Content, depth+1)
	default:
		n.kind, n.text = scalar(y)
	}
	return n
}

// object reads keys and values, which the library has in one list.
func (p *yamlParser) object(path string, n *node, content []*yaml.Node, depth int) {
	for i := 0; i+1 < len(content); i += 2 {
		k := content[i]
		named := key{k.Value, p.cursor.at(k.Line, k.Column)}
		inner := member(path, named.name)
		wrong := ""
		switch {
		case k.Kind != yaml.ScalarNode:
			wrong, inner = "the key of a field must be a word", path
		case k.Anchor != "" || k.Style&yaml.TaggedStyle != 0 || k.Tag == "!":
			wrong = "an anchor or a tag is not allowed: leave it out"
		case k.Value == "<<" && k.Style == 0:
			wrong, inner = "a merge key is not allowed: write the fields out", path
		}
		if wrong != "" {
			p.faultf(named.at, inner, "%s", wrong)
			continue
		}
		n.keys = append(n.keys, named)
		n.items = append(n.items, p.node(inner, content[i+1], depth))
	}
}

var (
	// jsonNumber is what JSON calls a number. In YAML it is one to everybody.
	jsonNumber = regexp.MustCompile(`^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?$`)
	// vagueWord is what is no text to some readers, of YAML 1.1 or 1.2: booleans
	// in words, other spellings of numbers, numbers to the base of sixty, dates.
	vagueWord = regexp.MustCompile(`^(` + strings.Join([]string{
		`y|Y|yes|Yes|YES|n|N|no|No|NO|on|On|ON|off|Off|OFF|=`,
		`[-+]?0[bBoOxX][0-9a-fA-F_]+`,
		`[-+]?(\.[0-9][0-9_]*|[0-9][0-9_]*(\.[0-9_]*)?)([eE][-+]?[0-9]+)?`,
		`[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?`,
		`[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)`,
		`[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}([Tt \t].*)?`,
	}, "|") + `)$`)
)

// scalar says what a scalar means: what the core schema of YAML 1.2 says, as
// far as readers agree on it.
func scalar(y *yaml.Node) (kind, string) {
	if y.Style != 0 { // in quotes, or a block of text
		return text, y.Value
	}
	switch y.Value {
	case "", "~", "null", "Null", "NULL":
		return null, ""
	case "true", "True", "TRUE", "false", "False", "FALSE":
		return boolean, strings.ToLower(y.Value)
	}
	switch {
	case jsonNumber.MatchString(y.Value):
		return number, y.Value
	case vagueWord.MatchString(y.Value):
		return vague, y.Value
	default:
		return text, y.Value
	}
}

// cursor turns lines and columns into offsets. It goes on from where it was
// asked last, as a search from the start for each value would take forever on a
// long line.
type cursor struct {
	data         []byte
	offset       int
	line, column int // of offset, from 1, columns in characters
}

// at returns the offset of a position, or of the end of the line or document if
// it lies behind that.
func (c *cursor) at(line, column int) int {
	if line < c.line || line == c.line && column < c.column {
		c.offset, c.line, c.column = 0, 1, 1
	}
	for c.offset < len(c.data) && (c.line < line || c.column < column) {
		r, size := utf8.DecodeRune(c.data[c.offset:])
		switch {
		case r == '\n' && c.line == line:
			return c.offset
		case r == '\n':
			c.line, c.column = c.line+1, 1
		default:
			c.column++
		}
		c.offset += size
	}
	return c.offset
}
