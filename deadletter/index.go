package deadletter

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Index is what an engine knows of its letters without reading them: all facts
// that filters ask for, in order of ID and of due time. It is for engines, which
// keep it beside what is durable. It is not safe for concurrent use.
type Index struct {
	letters map[string]*Letter  // without their weight
	order   []string            // IDs, sorted
	due     map[State][]*Letter // sorted by due time, then ID
	size    map[string]int64
	bytes   int64
}

// Len returns how many letters there are.
func (x *Index) Len() int { return len(x.letters) }

// Bytes returns about how much room the letters take.
func (x *Index) Bytes() int64 { return x.bytes }

// Find returns what is known of a letter: all but headers, body and history.
func (x *Index) Find(id string) (Letter, bool) {
	l, ok := x.letters[id]
	if !ok {
		return Letter{}, false
	}
	return *l, true
}

// IDs returns the IDs of all letters, in order.
func (x *Index) IDs() []string { return slices.Clone(x.order) }

// Check says whether the letter may be changed by who holds this copy of it:
// nil, [ErrNotFound] or [ErrStale].
func (x *Index) Check(l Letter) error {
	have, ok := x.letters[l.ID]
	switch {
	case !ok:
		return fmt.Errorf("letter %s: %w", l.ID, ErrNotFound)
	case have.Revision != l.Revision:
		return fmt.Errorf("letter %s: %w", l.ID, ErrStale)
	}
	return nil
}

// Set adds a letter, or replaces what was known of it.
func (x *Index) Set(l Letter) {
	if x.letters == nil {
		x.letters, x.due, x.size = map[string]*Letter{}, map[State][]*Letter{}, map[string]int64{}
	}
	x.undue(l.ID)
	slip := l.slip()
	if x.letters[l.ID] == nil {
		if i, found := slices.BinarySearch(x.order, l.ID); !found {
			x.order = slices.Insert(x.order, i, l.ID)
		}
	}
	x.letters[l.ID] = slip
	x.bytes += l.Size() - x.size[l.ID]
	x.size[l.ID] = l.Size()
	list := x.due[slip.State]
	i, _ := slices.BinarySearchFunc(list, slip, earlier)
	x.due[slip.State] = slices.Insert(list, i, slip)
}

// Lease gives a letter to an owner without looking at its weight.
func (x *Index) Lease(id string, revision uint64, c Claim) {
	if have, ok := x.letters[id]; ok {
		l, size := *have, x.size[id]
		c.Sign(&l)
		l.Revision = revision
		x.Set(l)
		x.bytes += size - x.size[id]
		x.size[id] = size
	}
}

// Delete forgets a letter.
func (x *Index) Delete(id string) {
	if x.letters[id] == nil {
		return
	}
	x.undue(id)
	delete(x.letters, id)
	x.bytes -= x.size[id]
	delete(x.size, id)
	if i, found := slices.BinarySearch(x.order, id); found {
		x.order = remove(x.order, i)
	}
}

// List returns the IDs of a page, and where the next one begins.
func (x *Index) List(q Query) (ids []string, next string) {
	limit := q.Limit
	if limit <= 0 {
		limit = 100
	}
	from, found := slices.BinarySearch(x.order, q.Cursor)
	if found {
		from++
	}
	for _, id := range x.order[from:] {
		if !q.Filter.Match(x.letters[id]) {
			continue
		}
		if len(ids) == limit {
			return ids, ids[limit-1]
		}
		ids = append(ids, id)
	}
	return ids, ""
}

// Due returns the IDs of letters that a prepared claim may be given, the longest due
// first. skip says which to pass over; nil is none.
func (x *Index) Due(c Claim, skip func(id string) bool) []string {
	var found []*Letter
	for _, state := range c.Filter.States {
		n := 0
		for _, l := range x.due[state] {
			if n == c.Limit || l.due().After(c.Now) {
				break
			}
			if l.Expired(c.Now) || slices.Contains(c.Except, l.Service) || !c.Filter.Match(l) || skip != nil && skip(l.ID) {
				continue
			}
			found = append(found, l)
			n++
		}
	}
	slices.SortFunc(found, earlier)
	ids := make([]string, 0, min(len(found), c.Limit))
	for _, l := range found[:min(len(found), c.Limit)] {
		ids = append(ids, l.ID)
	}
	return ids
}

func (x *Index) undue(id string) {
	old := x.letters[id]
	if old == nil {
		return
	}
	if i, found := slices.BinarySearchFunc(x.due[old.State], old, earlier); found {
		x.due[old.State] = remove(x.due[old.State], i)
	}
}

func earlier(a, b *Letter) int {
	return cmp.Or(a.due().Compare(b.due()), strings.Compare(a.ID, b.ID))
}

// remove deletes one element; the first one costs nothing, and is the one that
// goes most often.
func remove[T any](s []T, i int) []T {
	if i == 0 {
		var none T
		s[0] = none
		return s[1:]
	}
	return slices.Delete(s, i, i+1)
}
