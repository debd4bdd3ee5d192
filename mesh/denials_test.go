package mesh

import (
	"strconv"
	"strings"
	"testing"
)

// The latest are kept, and no more of each than a page can show.
func TestDenialsAreBounded(t *testing.T) {
	var d denials
	for n := range 3*denialsMost + 5 {
		d.add(denial{caller: strconv.Itoa(n), method: strings.Repeat("M", 100_000), dry: n%2 == 0})
	}
	all := d.events()
	if len(all) != denialsMost || len(all[0].Text) > journalText+100 {
		t.Fatalf("%d are kept, of %d bytes", len(all), len(all[0].Text))
	}
	for _, e := range all {
		_, rest, _ := strings.Cut(e.Text, "from ")
		n, err := strconv.Atoi(strings.Fields(rest)[0])
		if err != nil || n < 2*denialsMost+5 || strings.Contains(e.Text, "dry run") != (n%2 == 0) {
			t.Errorf("%d is kept: %s", n, rest)
		}
	}
}
