package policy

import (
	"fmt"
	"strings"
)

// meant guesses which field an unknown one at path was to be: one of its
// neighbours spelled wrong, or one that lives in another object, of all those
// that the document can have. It returns "" or a question, with a space behind
// it.
func meant(path, name string, neighbours []string, all []string) string {
	if !identifier(name) { // a guess about anything else would be a wild one
		return ""
	}
	best, least := "", 2+len(name)/3
	for _, n := range neighbours {
		if d := distance(strings.ToLower(name), strings.ToLower(n)); d < least {
			best, least = n, d
		}
	}
	if best != "" {
		return fmt.Sprintf("did you mean %q? ", member(path, best))
	}
	for _, p := range all {
		if last := p[strings.LastIndexByte(p, '.')+1:]; strings.EqualFold(last, name) {
			return fmt.Sprintf("did you mean %q? ", p)
		}
	}
	return ""
}

// distance is the number of letters to insert, drop or replace to turn a into b
// (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
