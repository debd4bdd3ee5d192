package archtest

import (
	"fmt"
	"go/ast"
	"slices"
	"testing"
)

func TestNoTestSleeps(t *testing.T) {
	report(t, checkSleeps(ours(t)))
}

// checkSleeps looks for tests that sleep on a real clock. Inside a bubble of
// testing/synctest sleeping takes no time and races with nothing: a sleep is
// fine if it stands in a function given to synctest.Test, or in one that is
// mentioned only in such functions.
func checkSleeps(h *house) (faults []string) {
	for _, p := range h.sorted() {
		s := sleeps{mentions: map[string][]place{}}
		for _, f := range p.tests() {
			s.read(f)
		}
		for _, at := range s.found {
			if !s.bubbled(at, nil) {
				pos := h.fset.Position(at.node.Pos())
				faults = append(faults, fmt.Sprintf(
					"%s:%d sleeps outside a bubble: wait for what you wait for, or use synctest.Test", pos.Filename, pos.Line))
			}
		}
	}
	return faults
}

// sleeps is what the tests of one package say about sleeping.
type sleeps struct {
	found    []place            // the mentions of time.Sleep
	mentions map[string][]place // of any name
}

// place is where something is mentioned.
type place struct {
	node   ast.Node
	in     string // the declared function around it, if any
	bubble bool   // inside an argument of synctest.Test
}

func (s *sleeps) read(f file) {
	clock, synctest := f.local("time"), f.local("testing/synctest")
	for _, decl := range f.ast.Decls {
		in := ""
		var declared *ast.Ident
		if fn, ok := decl.(*ast.FuncDecl); ok {
			in, declared = fn.Name.Name, fn.Name
		}
		var visit func(n ast.Node, bubble bool)
		visit = func(root ast.Node, bubble bool) {
			ast.Inspect(root, func(n ast.Node) bool {
				at := place{node: n, in: in, bubble: bubble}
				switch n := n.(type) {
				case *ast.CallExpr:
					if !selects(n.Fun, synctest, "Test") || bubble {
						return true
					}
					for _, arg := range n.Args {
						visit(arg, true)
					}
					return false
				case *ast.SelectorExpr:
					if selects(n, clock, "Sleep") {
						s.found = append(s.found, at)
					}
				case *ast.Ident:
					if n != declared {
						s.mentions[n.Name] = append(s.mentions[n.Name], at)
					}
				}
				return true
			})
		}
		visit(decl, false)
	}
}

// bubbled says whether all ways to a place lead through a bubble. asked are the
// functions on the way, so that recursion ends.
func (s *sleeps) bubbled(at place, asked []string) bool {
	if at.bubble {
		return true
	}
	if slices.Contains(asked, at.in) {
		return true // as good as its other callers are
	}
	callers := slices.DeleteFunc(slices.Clone(s.mentions[at.in]), func(m place) bool { return m.in == at.in })
	if at.in == "" || len(callers) == 0 { // nobody but the test runner calls it
		return false
	}
	return !slices.ContainsFunc(callers, func(m place) bool { return !s.bubbled(m, append(slices.Clip(asked), at.in)) })
}

func TestSleepsNotice(t *testing.T) {
	const header = "package a\nimport (\n\"time\"\n\"testing/synctest\"\n)\n" // 5 lines
	h := small(t,
		"a/a_test.go", header+`func TestBad(t T) { time.Sleep(1) }
func TestGood(t T) { synctest.Test(t, func(t T) { time.Sleep(1); helper(); inner(); both() }) }
func TestNamed(t T) { synctest.Test(t, named) }
func TestBoth(t T) { both() }
func helper() { inner() }
func inner() { time.Sleep(1); if x { helper() } }
func named(t T) { go func() { time.Sleep(1) }() }
func both() { time.Sleep(1) }
func alone() { if x { alone() }; time.Sleep(1) }
var f = time.Sleep
`,
		"b/b.go", "package b\nimport \"time\"\nfunc F() { time.Sleep(1) }\n",
		"b/b_test.go", "package b\nimport clock \"time\"\nfunc TestF(t T) {\nclock.Sleep(1)\n}\n",
		"c/c_test.go", "package c\nimport \"other/time\"\nfunc TestF(t T) { time.Sleep(1) }\n",
	)
	expect(t, checkSleeps(h),
		"a/a_test.go:6 sleeps",
		"a/a_test.go:13 sleeps",
		"a/a_test.go:14 sleeps",
		"a/a_test.go:15 sleeps",
		"b/b_test.go:4 sleeps",
	)
}
