package idempotency

// Outcome is how an operation ended, as it is told to repeats. Whoever has one
// does not modify it: stores and their users share its maps and bytes.
type Outcome struct {
	// Status is the HTTP status or the gRPC code.
	Status int
	// Header is what was said before the body.
	Header map[string][]string
	// Trailer is what was said after it. Only gRPC has one here.
	Trailer map[string][]string
	// Body is the answer: bytes as HTTP has them, or framed messages.
	Body []byte
	// Missing says what of the outcome is not known any more.
	Missing Missing
}

// Missing is what could not be kept of an outcome.
type Missing uint8

const (
	// Nothing is missing.
	Nothing Missing = iota
	// MissingBody: the operation was carried out and its body was too large to
	// be kept.
	MissingBody
	// MissingAll: the owner of the operation went away, and nobody knows how far
	// it came.
	MissingAll

	missings
)

// Size is about how many bytes it takes to keep the outcome.
func (o Outcome) Size() int {
	n := len(o.Body)
	for _, m := range []map[string][]string{o.Header, o.Trailer} {
		for k, vs := range m {
			n += len(k)
			for _, v := range vs {
				n += len(v)
			}
		}
	}
	return n
}

// WithoutBody returns the outcome with [MissingBody].
func (o Outcome) WithoutBody() Outcome {
	return Outcome{Status: o.Status, Missing: MissingBody}
}
