package archtest

import (
	"errors"
	"fmt"
	"go/ast"
	"go/doc/comment"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestShownCodeIsCompiled(t *testing.T) {
	report(t, checkReadme(ours(t)))
	report(t, checkTour(ours(t)))
}

// marker names what a Go block of the README shows: a file, or the body of a
// function in it.
//
//	<!-- example: examples/quickstart/main.go -->
//	<!-- example: mesh/example_test.go#ExampleMesh_HTTPClient -->
var marker = regexp.MustCompile(`^<!-- example: ([^#\s]+)(?:#(\w+))? -->$`)

// checkReadme compares each Go block of README.md with what it claims to show.
func checkReadme(h *house) (faults []string) {
	readme, err := fs.ReadFile(h.fsys, "README.md")
	if errors.Is(err, fs.ErrNotExist) {
		return []string{"README.md is missing"}
	} else if err != nil {
		return []string{err.Error()}
	}
	for _, b := range goBlocks(string(readme)) {
		m := marker.FindStringSubmatch(b.above)
		if m == nil {
			faults = append(faults, fmt.Sprintf(
				"README.md:%d: a Go block without `<!-- example: file.go#Func -->` above: nobody compiles it", b.line))
			continue
		}
		want, err := h.shown(m[1], m[2])
		switch {
		case err != nil:
			faults = append(faults, fmt.Sprintf("README.md:%d: %v", b.line, err))
		case !slices.Equal(outdent(b.lines), want):
			faults = append(faults, fmt.Sprintf("README.md:%d: the block differs from %s, which is:\n%s",
				b.line, strings.Trim(m[1]+"#"+m[2], "#"), strings.Join(want, "\n")))
		}
	}
	return faults
}

// checkTour looks for code in the root's package comment that stands in no
// example. Commands are not code.
func checkTour(h *house) (faults []string) {
	root := h.rooms["."]
	if root == nil {
		return []string{"the root has no doc.go"}
	}
	var examples [][]string
	for _, p := range h.sorted() {
		for _, f := range p.files {
			if !covers("examples/...", p.room) && !strings.HasPrefix(path.Base(f.path), "example") {
				continue
			}
			src, err := fs.ReadFile(h.fsys, f.path)
			if err != nil {
				return []string{err.Error()}
			}
			examples = append(examples, strings.Split(string(src), "\n"))
		}
	}
	var parser comment.Parser
	for _, f := range root.code() {
		for _, part := range parser.Parse(f.ast.Doc.Text()).Content {
			code, ok := part.(*comment.Code)
			if !ok {
				continue
			}
			lines := strings.Split(code.Text, "\n")
			if !commands(lines) && !slices.ContainsFunc(examples, func(e []string) bool { return stands(outdent(lines), e) }) {
				faults = append(faults, fmt.Sprintf("%s: this code stands in no example:\n%s", f.path, code.Text))
			}
		}
	}
	return faults
}

// block is a fenced Go block of a Markdown file.
type block struct {
	line  int    // of the opening fence
	above string // the last line before it that is not blank
	lines []string
}

func goBlocks(markdown string) (all []block) {
	above, fence := "", false
	var open *block
	for i, line := range strings.Split(markdown, "\n") {
		info, isFence := strings.CutPrefix(strings.TrimSpace(line), "```")
		switch {
		case isFence && !fence:
			fence = true
			if strings.HasPrefix(strings.TrimSpace(info), "go") {
				open = &block{line: i + 1, above: above}
			}
		case isFence:
			if open != nil {
				all = append(all, *open)
			}
			fence, open, above = false, nil, ""
		case open != nil:
			open.lines = append(open.lines, line)
		case !fence && strings.TrimSpace(line) != "":
			above = strings.TrimSpace(line)
		}
	}
	if open != nil {
		all = append(all, *open) // never closed: shown to the end, so compared to the end
	}
	return all
}

// shown returns the lines of a file, or of the body of one function in it, as a
// reader should see them.
func (h *house) shown(name, fn string) ([]string, error) {
	src, err := fs.ReadFile(h.fsys, name)
	if err != nil {
		return nil, err
	}
	p := h.rooms[path.Dir(name)]
	if p == nil {
		return nil, fmt.Errorf("%s is not compiled: it belongs to no package of this module", name)
	}
	i := slices.IndexFunc(p.files, func(f file) bool { return f.path == name })
	if i < 0 {
		return nil, fmt.Errorf("%s is not compiled: it is no Go file", name)
	}
	if fn == "" {
		return outdent(strings.Split(string(src), "\n")), nil
	}
	for _, decl := range p.files[i].ast.Decls {
		d, ok := decl.(*ast.FuncDecl)
		if !ok || d.Name.Name != fn || d.Body == nil {
			continue
		}
		body := string(src[h.fset.Position(d.Body.Lbrace).Offset+1 : h.fset.Position(d.Body.Rbrace).Offset])
		lines := strings.Split(body, "\n")
		if end := slices.IndexFunc(lines, expectation); end >= 0 {
			lines = lines[:end]
		}
		return outdent(lines), nil
	}
	return nil, fmt.Errorf("%s has no function %s", name, fn)
}

// expectation recognises where an example says what it prints.
func expectation(line string) bool {
	line = strings.ToLower(strings.TrimSpace(line))
	return strings.HasPrefix(line, "// output:") || strings.HasPrefix(line, "// unordered output:")
}

// outdent removes what indentation all lines share, blanks at their ends, and
// blank lines around them. Tabs and four spaces are the same.
func outdent(lines []string) []string {
	out := make([]string, 0, len(lines))
	least := -1
	for _, line := range lines {
		line = strings.TrimRight(strings.ReplaceAll(line, "    ", "\t"), " \t\r")
		if indent := len(line) - len(strings.TrimLeft(line, "\t ")); line != "" && (least < 0 || indent < least) {
			least = indent
		}
		out = append(out, line)
	}
	for i, line := range out {
		if line != "" {
			out[i] = line[least:]
		}
	}
	for len(out) > 0 && out[0] == "" {
		out = out[1:]
	}
	for len(out) > 0 && out[len(out)-1] == "" {
		out = out[:len(out)-1]
	}
	return out
}

// stands says whether code is a run of the file's lines.
func stands(code, file []string) bool {
	for i := 0; i+len(code) <= len(file); i++ {
		if slices.Equal(outdent(file[i:i+len(code)]), code) {
			return true
		}
	}
	return false
}

func commands(lines []string) bool {
	return !slices.ContainsFunc(lines, func(line string) bool {
		first, _, _ := strings.Cut(strings.TrimSpace(line), " ")
		return !slices.Contains([]string{"", "$", "go", "make"}, first)
	})
}

func TestShownCodeNotices(t *testing.T) {
	h := small(t,
		"README.md", strings.Join([]string{
			"# Title",
			"<!-- example: x/example_test.go#Example -->", "", "```go", "a := 1", "if a > 0 {", "    a++", "}", "```",
			"```go", "unmarked()", "```",
			"```sh", "go run .", "```",
			"<!-- example: x/example_test.go#Gone -->", "```go", "```",
			"<!-- example: x/testdata/example.go#F -->", "```go", "x()", "```",
			"<!-- example: x/example_test.go#Example -->", "```go", "a := 2", "```",
			"<!-- example: examples/whole/main.go -->", "```go", "// Whole runs.", "package main", "", "func main() {}", "```",
			"* in a list:", "  <!-- example: examples/whole/main.go#main -->", "  ```go", "  more()", "  ```",
		}, "\n"),
		"doc.go", "// Package x is.\n//\n//\ta := 1\n//\tif a > 0 {\n//\t\ta++\n//\n// And\n//\n//\tgo get x\n//\n// And\n//\n//\tb()\npackage x\n",
		"x/example_test.go", "package x\nfunc Example() {\n\ta := 1\n\tif a > 0 {\n\t\ta++\n\t}\n\t// Output: 1\n}\n",
		"x/testdata/example.go", "package x\nfunc F() {\nx()\n}\n",
		"examples/whole/main.go", "// Whole runs.\npackage main\n\nfunc main() {}\n",
	)
	expect(t, checkReadme(h),
		"README.md:10: a Go block without",
		"README.md:17: x/example_test.go has no function Gone",
		"README.md:20: x/testdata/example.go is not compiled",
		"README.md:24: the block differs from x/example_test.go#Example",
		"README.md:36: the block differs from examples/whole/main.go#main",
	)
	expect(t, checkTour(h), "doc.go: this code stands in no example:\nb()")
	expect(t, checkReadme(small(t)), "README.md is missing")
	expect(t, checkTour(small(t)), "the root has no doc.go")
}
