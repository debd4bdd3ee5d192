package archtest

import (
	"fmt"
	"go/ast"
	"strings"
	"testing"
)

func TestNoPanics(t *testing.T) {
	report(t, checkPanics(ours(t)))
}

// checkPanics looks for panics outside tests. One that has to be is excused to
// the linter on its line, with the reason: so the list of them is the code.
func checkPanics(h *house) (faults []string) {
	for _, p := range h.sorted() {
		for _, f := range p.code() {
			excused := map[int]bool{}
			for _, group := range f.ast.Comments {
				for _, c := range group.List {
					if strings.HasPrefix(c.Text, "//nolint:forbidigo // ") {
						excused[h.fset.Position(c.Pos()).Line] = true
					}
				}
			}
			ast.Inspect(f.ast, func(n ast.Node) bool {
				c, ok := n.(*ast.CallExpr)
				if !ok {
					return true
				}
				id, ok := c.Fun.(*ast.Ident)
				if line := h.fset.Position(c.Pos()).Line; ok && id.Name == "panic" && !excused[line] {
					faults = append(faults, fmt.Sprintf(
						"%s:%d panics: return an error, or say on the line `//nolint:forbidigo // why it must`", f.path, line))
				}
				return true
			})
		}
	}
	return faults
}

func TestGoroutines(t *testing.T) {
	report(t, checkGoroutines(ours(t), rooms))
}

// checkGoroutines looks for packages that start goroutines and may not, or
// whose tests do not ask whether they ended. Programs take theirs with them.
func checkGoroutines(h *house, plan map[string]room) (faults []string) {
	for _, p := range h.sorted() {
		where := h.started(p)
		if where == "" || p.name == "main" {
			continue
		}
		if name, _ := lookup(plan, p.room); plan[name].quiet {
			faults = append(faults, fmt.Sprintf("%s starts a goroutine, which %s never may: see docs/architecture.md", where, p.room))
		}
		asked := false
		for _, f := range p.files { // a package that helps tests asks in its code
			leak := f.local("go.uber.org/goleak")
			ast.Inspect(f.ast, func(n ast.Node) bool {
				asked = asked || selects(n, leak, "VerifyTestMain") || selects(n, leak, "VerifyNone")
				return true
			})
		}
		if !asked {
			faults = append(faults, fmt.Sprintf("%s starts a goroutine: let the package's TestMain call goleak.VerifyTestMain", where))
		}
	}
	return faults
}

// started says where a package's code first starts a goroutine, if it does.
func (h *house) started(p *pkg) (where string) {
	for _, f := range p.code() {
		ast.Inspect(f.ast, func(n ast.Node) bool {
			if starts(n) && where == "" {
				where = fmt.Sprintf("%s:%d", f.path, h.fset.Position(n.Pos()).Line)
			}
			return true
		})
	}
	return where
}

// starts recognises `go f()` and `group.Go(f)`.
func starts(n ast.Node) bool {
	switch n := n.(type) {
	case *ast.GoStmt:
		return true
	case *ast.CallExpr:
		sel, ok := n.Fun.(*ast.SelectorExpr)
		return ok && sel.Sel.Name == "Go" && len(n.Args) == 1
	default:
		return false
	}
}

func TestBehaviourNotices(t *testing.T) {
	h := small(t,
		"a/a.go", "package a\nfunc F() {\npanic(1)\npanic(2) //nolint:forbidigo // impossible\npanic(3) //nolint:forbidigo\n}\n",
		"a/a_test.go", "package a\nfunc f() { panic(1) }\n",
		"b/b.go", "package b\nfunc F() { go F() }\n",
		"b/b_test.go", "package b\nimport \"go.uber.org/goleak\"\nvar _ = goleak.VerifyTestMain\n",
		"c/c.go", "package c\nfunc F() {\nwg.Go(F)\n}\n",
		"c/c_test.go", "package c\nimport \"go.uber.org/goleak\"\nvar _ = goleak.IgnoreCurrent\n",
		"d/main.go", "package main\nfunc main() { go main() }\n",
	)
	expect(t, checkPanics(h), "a/a.go:3 panics", "a/a.go:5 panics")
	expect(t, checkGoroutines(h, map[string]room{"a": {quiet: true}, "b": {quiet: true}, "c": {}}),
		"b/b.go:2 starts a goroutine, which b never may",
		"c/c.go:3 starts a goroutine: let the package's TestMain",
	)
}
