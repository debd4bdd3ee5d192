package archtest

import (
	"fmt"
	"io/fs"
	"strings"
	"testing"
)

func TestPackageComments(t *testing.T) {
	report(t, checkPackageComments(ours(t)))
}

// checkPackageComments looks for packages that do not say what they are for.
func checkPackageComments(h *house) (faults []string) {
	for _, p := range h.sorted() {
		if len(p.code()) == 0 {
			continue
		}
		want := "Package " + p.name + " "
		if p.name == "main" { // a program may be called as it likes
			want = ""
		}
		var said []string
		for _, f := range p.code() {
			if doc := strings.TrimSpace(f.ast.Doc.Text()); doc != "" {
				said = append(said, doc)
			}
		}
		switch {
		case len(said) == 0:
			faults = append(faults, fmt.Sprintf("%s has no package comment: say in doc.go what the room is for", p.room))
		case len(said) > 1:
			faults = append(faults, fmt.Sprintf("%s has %d package comments: keep one", p.room, len(said)))
		case !strings.HasPrefix(said[0], want) || !strings.Contains(said[0], "."):
			faults = append(faults, fmt.Sprintf("%s: the package comment is no sentence that begins with %q", p.room, want))
		}
	}
	return faults
}

func TestEveryRoomIsDescribed(t *testing.T) {
	report(t, checkDescribed(ours(t)))
}

// checkDescribed looks for rooms that docs/architecture.md does not mention.
func checkDescribed(h *house) (faults []string) {
	doc, err := fs.ReadFile(h.fsys, "docs/architecture.md")
	if err != nil {
		return []string{err.Error()}
	}
	for _, p := range h.sorted() {
		if p.room == "." || p.name == "main" {
			continue
		}
		if !strings.Contains(string(doc), "`"+p.room+"`") {
			faults = append(faults, fmt.Sprintf("docs/architecture.md says nothing about `%s`", p.room))
		}
	}
	return faults
}

func TestCommentsNotice(t *testing.T) {
	h := small(t,
		"docs/architecture.md", "# Rooms\n\n`good` and `silent`, but of good/child not a word.\n",
		"good/good.go", "// Package good is good.\npackage good\n",
		"good/child/a.go", "// Package child is.\npackage child\n",
		"good/child/b.go", "// Package child is, too.\npackage child\n",
		"prog/main.go", "// Prog runs.\npackage main\n",
		"silent/silent.go", "package silent\n",
		"silent/silent_test.go", "// Package silent is tested.\npackage silent\n",
		"wrong/wrong.go", "// Once upon a time.\npackage wrong\n",
	)
	expect(t, checkPackageComments(h),
		"good/child has 2 package comments",
		"silent has no package comment",
		"wrong: the package comment is no sentence",
	)
	expect(t, checkDescribed(h),
		"docs/architecture.md says nothing about `good/child`",
		"docs/architecture.md says nothing about `wrong`",
	)
}
