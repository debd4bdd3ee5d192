package archtest

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

func TestFloors(t *testing.T) {
	report(t, checkPlan(rooms))
	report(t, checkFloors(ours(t), rooms))
}

// checkPlan looks for arrows in the plan that do not point down.
func checkPlan(plan map[string]room) (faults []string) {
	for _, name := range slices.Sorted(maps.Keys(plan)) {
		for _, target := range plan[name].may {
			if target == allBelow || target == publicBelow {
				continue
			}
			below, ok := plan[target]
			switch {
			case !ok:
				faults = append(faults, fmt.Sprintf("%s may import %s, which is not in the plan", name, target))
			case below.floor >= plan[name].floor:
				faults = append(faults, fmt.Sprintf("%s may import %s, which is not on a lower floor", name, target))
			}
		}
	}
	return faults
}

// checkFloors compares the house with its plan.
func checkFloors(h *house, plan map[string]room) (faults []string) {
	const see = "see docs/architecture.md, and internal/archtest/rooms_test.go if the plan is to change"
	standing := map[string]bool{}
	for _, p := range h.sorted() {
		name, ok := lookup(plan, p.room)
		if !ok {
			faults = append(faults, fmt.Sprintf("%s is not in the plan of the house: %s", p.room, see))
			continue
		}
		standing[name] = true
		for _, f := range p.code() {
			for _, imp := range f.imports {
				target, ok := within(imp)
				if ok && !allowed(plan, name, target) {
					faults = append(faults, fmt.Sprintf("%s imports %s, which %s may not: %s", f.path, target, p.room, see))
				}
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(plan)) {
		switch {
		case strings.HasSuffix(name, "/..."):
		case !standing[name] && !plan[name].planned && name != ".":
			faults = append(faults, fmt.Sprintf("%s is in the plan but not in the house: take it out, or mark it planned", name))
		case standing[name] && plan[name].planned:
			faults = append(faults, fmt.Sprintf("%s is built: take `planned` off its line in internal/archtest/rooms_test.go", name))
		}
	}
	return faults
}

// lookup finds the line of the plan that speaks of a folder.
func lookup(plan map[string]room, folder string) (name string, ok bool) {
	for _, name := range slices.Sorted(maps.Keys(plan)) {
		if covers(name, folder) {
			return name, true
		}
	}
	return "", false
}

func allowed(plan map[string]room, from, target string) bool {
	name, ok := lookup(plan, target)
	if !ok {
		return false
	}
	if name == from { // one program of examples/... uses another's generated code
		return true
	}
	below := plan[name].floor < plan[from].floor
	private := strings.Contains("/"+target, "/internal/")
	may := plan[from].may
	switch {
	case slices.Contains(may, name):
		return true
	case plan[name].open:
		return below || name == "internal/mono" // mechanisms on the ground read the clock, too
	case slices.Contains(may, allBelow):
		return below
	case slices.Contains(may, publicBelow):
		return below && !private
	default:
		return false
	}
}

// within returns the folder of an import path of this module.
func within(imp string) (folder string, ok bool) {
	if imp == module {
		return ".", true
	}
	return strings.CutPrefix(imp, module+"/")
}

func TestFloorsNotice(t *testing.T) {
	plan := map[string]room{
		"call":         {},
		"clock":        {open: true},
		"internal/low": {},
		"gone":         {},
		"soon":         {planned: true},
		"early":        {planned: true},
		"mid":          {floor: 1, may: []string{"call"}},
		"top":          {floor: 2, may: []string{allBelow}},
		"examples/...": {floor: 3, may: []string{publicBelow}},
	}
	h := small(t,
		"call/call.go", "package call\nimport _ `"+module+"/mid`\n",
		"clock/clock.go", "package clock\n",
		"early/early.go", "package early\n",
		"examples/a/a.go", "package a\nimport (\n_ `"+module+"/top`\n_ `"+module+"/internal/low`\n_ `"+module+"/examples/b`\n)\n",
		"examples/b/b.go", "package b\n",
		"internal/low/low.go", "package low\n",
		"mid/mid.go", "package mid\nimport (\n_ `"+module+"/call`\n_ `"+module+"/clock`\n_ `"+module+"/internal/low`\n)\n",
		"mid/mid_test.go", "package mid\nimport _ `"+module+"/top`\n",
		"strange/strange.go", "package strange\n",
		"top/top.go", "package top\nimport (\n_ `"+module+"/mid`\n_ `"+module+"/strange`\n)\n",
		"nested/go.mod", "module nested\n",
		"nested/nested.go", "package nested\n",
		"top/testdata/x.go", "not even Go\n",
	)
	expect(t, checkFloors(h, plan),
		"call/call.go imports mid,",
		"examples/a/a.go imports internal/low,",
		"mid/mid.go imports internal/low,",
		"strange is not in the plan",
		"top/top.go imports strange,",
		"early is built",
		"gone is in the plan but not in the house",
	)
	expect(t, checkPlan(map[string]room{
		"a": {may: []string{"b"}},
		"b": {floor: 1, may: []string{"a", "c"}},
	}),
		"a may import b, which is not on a lower floor",
		"b may import c, which is not in the plan",
	)
}
