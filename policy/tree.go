package policy

// node is one value of a document, the same whichever language it is written
// in. Both are made into a tree first, so that there is one reader and one
// wording of each mistake.
type node struct {
	kind kind
	at   int    // where it begins: the offset of its first byte
	text string // of a text what it says, of other scalars their spelling
	keys []key  // of an object: keys[i] is that of items[i], in the order of the document
	// items are what a list or an object holds.
	items []node
}

type key struct {
	name string
	at   int
}

type kind uint8

const (
	unread kind = iota // it can not be read, which has been told
	null
	boolean
	number // as JSON spells numbers
	text
	vague // a word without quotes that means different things to readers of YAML
	list
	object
)

// parse makes a tree of a document, or of as much of it as can be read.
func parse(r *report) node {
	if isJSON(r.data) {
		return parseJSON(r)
	}
	return parseYAML(r)
}

// isJSON says which language a document is in. What begins like JSON must be
// JSON to its end, although YAML would allow more: who sets out in the stricter
// language wants to hear of the comma that is missing.
func isJSON(data []byte) bool {
	for _, b := range data {
		switch b {
		case ' ', '\t', '\r', '\n':
		default:
			return b == '{' || b == '['
		}
	}
	return false
}
