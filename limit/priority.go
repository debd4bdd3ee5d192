package limit

import "fmt"

// Priority says how much it matters that a call is carried out. Under overload
// the least important are shed first.
type Priority uint8

// The priorities.
const (
	// Default is the priority of calls that say nothing.
	Default Priority = iota
	// Critical calls are those that everything else is there for. They are shed
	// only when four times the limit is under way.
	Critical
	// Degraded calls have a worse but good answer without: they are shed at four
	// fifths of the limit.
	Degraded
	// Background calls can come later: they are shed at half of the limit.
	Background

	priorities
)

var priorityNames = [priorities]string{"default", "critical", "degraded", "background"}

// String returns the word used in headers, metrics and errors.
func (p Priority) String() string {
	if p >= priorities {
		return "invalid"
	}
	return priorityNames[p]
}

// ParsePriority is the inverse of String; the empty word is [Default].
func ParsePriority(word string) (Priority, error) {
	if word == "" {
		return Default, nil
	}
	for p, name := range priorityNames {
		if name == word {
			return Priority(p), nil
		}
	}
	return Default, fmt.Errorf("priority %q: want critical, default, degraded or background", word)
}

// of returns how much of a limit calls of the priority may use, at least one.
func (p Priority) of(limit int64) int64 {
	switch p {
	case Critical:
		return 4 * limit
	case Degraded:
		return max(limit*4/5, 1)
	case Background:
		return max(limit/2, 1)
	default:
		return limit
	}
}
