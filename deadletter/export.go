package deadletter

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// Export writes the letters that the filter means as JSON, one a line, and says
// how many. Bodies are in base64.
func Export(ctx context.Context, s Sink, w io.Writer, f Filter) (int, error) {
	n := 0
	buffered := bufio.NewWriter(w)
	enc := json.NewEncoder(buffered)
	for l, err := range All(ctx, s, f) {
		if err != nil {
			return n, errors.Join(fmt.Errorf("export letters: %w", err), buffered.Flush())
		}
		l.Owner, l.LeasedUntil, l.Revision = "", time.Time{}, 0
		if err := enc.Encode(write(l)); err != nil {
			return n, fmt.Errorf("export letter %s: %w", l.ID, err)
		}
		n++
	}
	if err := buffered.Flush(); err != nil {
		return n, fmt.Errorf("export letters: %w", err)
	}
	return n, nil
}

// maxLine bounds a line that Import reads.
const maxLine = 64 << 20

// Import keeps the letters that Export has written, and says how many were new:
// those that are there already are left as they are. It stops at the first line
// that is not a letter; what came before it is kept.
func Import(ctx context.Context, s Sink, r io.Reader) (int, error) {
	var added atomic.Int64
	line := 0
	group, inside := errgroup.WithContext(ctx)
	group.SetLimit(together)
	put := func(l Letter, line int) func() error {
		return func() error {
			err := s.Put(inside, l)
			switch {
			case errors.Is(err, ErrExists):
				return nil
			case err != nil:
				return fmt.Errorf("import line %d: %w", line, err)
			}
			added.Add(1)
			return nil
		}
	}
	in := bufio.NewScanner(r)
	in.Buffer(nil, maxLine)
	var fault error
	for fault == nil && inside.Err() == nil && in.Scan() {
		line++
		if len(bytes.TrimSpace(in.Bytes())) == 0 {
			continue
		}
		var l Letter
		if l, fault = parseLine(in.Bytes()); fault != nil {
			fault = fmt.Errorf("import line %d: %w", line, fault)
			break
		}
		group.Go(put(l, line))
	}
	if fault == nil && in.Err() != nil {
		fault = fmt.Errorf("import after line %d: %w", line, in.Err())
	}
	err := errors.Join(fault, group.Wait())
	return int(added.Load()), err
}

func parseLine(line []byte) (Letter, error) {
	var w written
	dec := json.NewDecoder(bytes.NewReader(line))
	dec.DisallowUnknownFields() // a field that we drop is a piece of a letter lost
	if err := dec.Decode(&w); err != nil {
		return Letter{}, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return Letter{}, fmt.Errorf("%w: more follows on the line", ErrCorrupt)
	}
	l := w.letter()
	l.Owner, l.LeasedUntil, l.Revision = "", time.Time{}, 0
	if err := l.Validate(); err != nil {
		return Letter{}, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return l, nil
}
