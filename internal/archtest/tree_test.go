package archtest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
)

const module = "github.com/innermesh/innermesh"

// house is the whole source tree as the rules see it. Files are parsed, not
// built: so all operating systems count, and go test knows what a cached
// result depends on, which it would not if go list read the files.
type house struct {
	fsys  fs.FS
	fset  *token.FileSet
	rooms map[string]*pkg // by folder, relative to the module
}

// pkg is one folder with Go files, its tests included.
type pkg struct {
	room  string
	name  string // of the package under test
	files []file
}

type file struct {
	path    string
	test    bool
	ast     *ast.File
	imports []string
}

// open parses the house that stands in fsys. Nested modules are other houses.
func open(fsys fs.FS) (*house, error) {
	h := &house{fsys: fsys, fset: token.NewFileSet(), rooms: map[string]*pkg{}}
	return h, fs.WalkDir(fsys, ".", func(p string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && p != "." && foreign(fsys, p):
			return fs.SkipDir
		case d.IsDir() || path.Ext(p) != ".go":
			return nil
		}
		return h.add(p)
	})
}

func foreign(fsys fs.FS, dir string) bool {
	base := path.Base(dir)
	if base == "testdata" || strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_") {
		return true
	}
	_, err := fs.Stat(fsys, path.Join(dir, "go.mod"))
	return err == nil
}

func (h *house) add(p string) error {
	src, err := fs.ReadFile(h.fsys, p)
	if err != nil {
		return err
	}
	tree, err := parser.ParseFile(h.fset, p, src, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	f := file{path: p, test: strings.HasSuffix(p, "_test.go"), ast: tree}
	for _, imp := range tree.Imports {
		target, err := strconv.Unquote(imp.Path.Value)
		if err != nil {
			return err
		}
		f.imports = append(f.imports, target)
	}
	room := path.Dir(p)
	if h.rooms[room] == nil {
		h.rooms[room] = &pkg{room: room}
	}
	r := h.rooms[room]
	if !f.test || r.name == "" {
		r.name = strings.TrimSuffix(tree.Name.Name, "_test")
	}
	r.files = append(r.files, f)
	return nil
}

// sorted returns the rooms in the order of their folders.
func (h *house) sorted() []*pkg {
	var all []*pkg
	for _, name := range slices.Sorted(maps.Keys(h.rooms)) {
		all = append(all, h.rooms[name])
	}
	return all
}

// code returns the files that are not tests.
func (p *pkg) code() []file {
	return slices.DeleteFunc(slices.Clone(p.files), func(f file) bool { return f.test })
}

// tests returns the files that are.
func (p *pkg) tests() []file {
	return slices.DeleteFunc(slices.Clone(p.files), func(f file) bool { return !f.test })
}

// local says by which name the file knows an import, "" if it does not.
func (f file) local(target string) string {
	for _, imp := range f.ast.Imports {
		if p, err := strconv.Unquote(imp.Path.Value); err != nil || p != target {
			continue
		}
		if imp.Name != nil {
			return imp.Name.Name
		}
		return path.Base(target)
	}
	return ""
}

// selects says whether n is pkg.name, pkg being the file's own name for it.
func selects(n ast.Node, pkg, name string) bool {
	sel, ok := n.(*ast.SelectorExpr)
	if !ok || pkg == "" || sel.Sel.Name != name {
		return false
	}
	id, ok := sel.X.(*ast.Ident)
	return ok && id.Name == pkg
}

// covers says whether a name of a table ("mesh", "examples/...") stands for room.
func covers(pattern, room string) bool {
	if prefix, ok := strings.CutSuffix(pattern, "/..."); ok {
		return strings.HasPrefix(room, prefix+"/")
	}
	return pattern == room
}

// ours opens the house we live in.
func ours(t *testing.T) *house {
	t.Helper()
	h, err := open(os.DirFS("../.."))
	if err != nil {
		t.Fatal(err)
	}
	if len(h.rooms) < 3 {
		t.Fatalf("found only %d packages: is this the root of the module?", len(h.rooms))
	}
	return h
}

// small builds a house from files, given as path and content in turn.
func small(t *testing.T, pathAndContent ...string) *house {
	t.Helper()
	fsys := fstest.MapFS{}
	for i := 0; i < len(pathAndContent); i += 2 {
		fsys[pathAndContent[i]] = &fstest.MapFile{Data: []byte(pathAndContent[i+1])}
	}
	h, err := open(fsys)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// report fails with each fault.
func report(t *testing.T, faults []string) {
	t.Helper()
	for _, f := range faults {
		t.Error(f)
	}
}

// expect compares the faults of a small house with the beginnings of those it
// must have, in order.
func expect(t *testing.T, faults []string, want ...string) {
	t.Helper()
	ok := slices.EqualFunc(faults, want, strings.HasPrefix)
	if !ok {
		t.Errorf("got:\n\t%s\nwant:\n\t%s", strings.Join(faults, "\n\t"), strings.Join(want, "\n\t"))
	}
}
