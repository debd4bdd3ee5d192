package httpadapter

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
)

// replay lets a request's body be sent more than once: through the request's
// own GetBody, else by keeping what was read of it up to a limit. Attempts read
// it one after the other; a transport that still reads for a former attempt is
// cut off.
type replay struct {
	src  io.ReadCloser
	get  func() (io.ReadCloser, error)
	uses int
	tell interface{ Stir() } // told of each piece that goes out; may be nil
	tap  *tap                // nil unless the body is to be copied

	reading sync.Mutex // held while reading src: the next reader waits for the last one's bytes

	mu       sync.Mutex // never held while reading: an answer may come before the body
	kept     []byte
	limit    int
	overflow bool
	err      error // how src ended
	current  *replayReader
	final    bool // no further attempt will come
	closed   bool
}

// errSuperseded is what a transport reads that did not notice that its attempt
// is over.
var errSuperseded = errors.New("the attempt is over")

// newReplay returns nil if the request has no body; that too can be sent again.
func newReplay(req *http.Request) *replay {
	if req.Body == nil || req.Body == http.NoBody {
		return nil
	}
	return &replay{src: req.Body, get: req.GetBody}
}

// next returns the body of the next attempt, and how the transport may get it
// once more by itself.
func (b *replay) next(limit int) (io.ReadCloser, func() (io.ReadCloser, error), error) {
	if b == nil {
		return nil, nil, nil
	}
	b.uses++
	switch {
	case b.get != nil && b.uses == 1:
		return b.tap.on(b.src), b.rewind(), nil
	case b.get != nil:
		body, err := b.get()
		if err != nil {
			return nil, nil, fmt.Errorf("rewind the request's body: %w", err)
		}
		return b.tap.on(body), b.rewind(), nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.limit = max(limit, 0)
	if b.uses > 1 && b.overflow { // a read that was under way when the attempt was judged
		return nil, nil, b.tooLong()
	}
	return b.tap.on(b.reader()), b.again, nil
}

// rewind is GetBody for bodies that have one.
func (b *replay) rewind() func() (io.ReadCloser, error) {
	if b.tap == nil {
		return b.get
	}
	return func() (io.ReadCloser, error) {
		body, err := b.get()
		return b.tap.on(body), err
	}
}

// again is GetBody for bodies that are kept.
func (b *replay) again() (io.ReadCloser, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.overflow {
		return nil, b.tooLong()
	}
	return b.tap.on(b.reader()), nil
}

func (b *replay) tooLong() error {
	return fmt.Errorf("the body is longer than the %d bytes that are kept", b.limit)
}

func (b *replay) reader() *replayReader {
	b.current = &replayReader{b: b}
	return b.current
}

// replayable says whether all that was read can be read again.
func (b *replay) replayable() bool {
	if b == nil || b.get != nil {
		return true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return !b.overflow && (b.err == nil || b.err == io.EOF) //nolint:errorlint // readers return it bare
}

// failure returns the error of the caller's body, if reading it has failed.
func (b *replay) failure() error {
	if b == nil || b.get != nil {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err != nil && b.err != io.EOF { //nolint:errorlint // readers return it bare
		return fmt.Errorf("read the request's body: %w", b.err)
	}
	return nil
}

// decided says that there will be no further attempt, and closes the body
// unless the transport that answered is still sending it.
func (b *replay) decided(answered bool) {
	switch {
	case b == nil:
	case b.get != nil:
		if b.uses == 0 {
			_ = b.src.Close() // nobody else will; the caller gets the error that matters
		}
	default:
		b.mu.Lock()
		defer b.mu.Unlock()
		b.final = true
		if !answered || b.current == nil || b.current.closed {
			b.close()
		}
	}
}

func (b *replay) close() {
	if !b.closed {
		b.closed = true
		b.current = nil
		_ = b.src.Close() // as net/http does
	}
}

// replayReader is the body of one attempt.
type replayReader struct {
	b      *replay
	at     int // how many of the kept bytes were read
	closed bool
}

// Read implements [io.Reader].
func (r *replayReader) Read(p []byte) (int, error) {
	if n, err := r.known(p); n > 0 || err != nil {
		return n, err
	}
	b := r.b
	b.reading.Lock()
	defer b.reading.Unlock()
	if n, err := r.known(p); n > 0 || err != nil { // the one before was still reading
		return n, err
	}
	n, err := b.src.Read(p)
	if b.tell != nil {
		b.tell.Stir()
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.err = err
	if b.overflow = b.overflow || len(b.kept)+n > b.limit; !b.overflow {
		b.kept = append(b.kept, p[:n]...)
		r.at += n
		return n, err
	}
	b.kept, r.at = nil, 0
	if b.current != r && !b.final { // the next attempt counts on what is lost with this one
		b.err = b.tooLong()
	}
	return n, err
}

// known reads what is known without reading the caller's body.
func (r *replayReader) known(p []byte) (int, error) {
	b := r.b
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.current != r:
		return 0, errSuperseded
	case r.at < len(b.kept):
		n := copy(p, b.kept[r.at:])
		r.at += n
		return n, nil
	default:
		return 0, b.err
	}
}

// Close implements [io.Closer]. The caller's body is closed when no other
// attempt can need it.
func (r *replayReader) Close() error {
	b := r.b
	b.mu.Lock()
	defer b.mu.Unlock()
	r.closed = true
	if b.current == r && b.final {
		b.close()
	}
	return nil
}
