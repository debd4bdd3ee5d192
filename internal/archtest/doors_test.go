package archtest

import (
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"testing"
)

// door is the one way in for a dependency, so that replacing it touches one
// room.
type door struct {
	// path is the import path, and all below it unless a longer path has a
	// door of its own.
	path string
	// rooms are those whose code may import it.
	rooms []string
	// tests says that tests of every room may import it.
	tests bool
	// why is the reason for the door.
	why string
}

// doors are all dependencies of the core, direct ones in go.mod included.
var doors = []door{
	{path: "github.com/DeRuina/timberjack", rooms: []string{"inbound/audit/file"},
		why: "files that are put aside when they are full; who needs none does not link it"},
	{path: "github.com/cenkalti/backoff/v4", rooms: []string{"retry", "internal/consul"},
		why: "full jitter between tries is written once for calls and once for watches"},
	{path: "github.com/cespare/xxhash/v2", rooms: []string{"balancer", "internal/route"},
		why: "the hash that sidecars use"},
	{path: "github.com/go-jose/go-jose/v4", rooms: []string{"inbound/jwt"}, tests: true,
		why: "signatures of JSON web tokens are where mistakes are paid for; it has no dependencies of its own"},
	{path: "github.com/google/go-cmp", rooms: []string{"idempotency/idempotencytest", "saga/sagatest"}, tests: true,
		why: "differences that a reader understands; it may panic, so never outside tests"},
	{path: "github.com/google/jsonschema-go", tests: true,
		why: "the schema of policies is made and held true by tests; nobody needs it at run time"},
	{path: "github.com/hashicorp/consul", // no rooms
		why: "Consul itself is under the BUSL; only its api, sdk and proto-public are free"},
	{path: "github.com/hashicorp/consul/api", rooms: []string{"internal/consul", "internal/consultest"}, tests: true,
		why: "blocking queries have rules that must be kept in one place"},
	{path: "github.com/hashicorp/go-bexpr", rooms: []string{"discovery"},
		why: "Consul's own filter language"},
	{path: "github.com/sony/gobreaker/v2", rooms: []string{"breaker"},
		why: "others ask a breaker whether they may enter, not how it counts"},
	{path: "go.etcd.io/bbolt", rooms: []string{"idempotency/bolt", "deadletter/bolt", "saga/bolt"}, tests: true,
		why: "a file that survives a crash; who needs none does not link it"},
	{path: "go.opentelemetry.io/otel", rooms: []string{"internal/telemetry", "examples/..."}, tests: true,
		why: "names of metrics and attributes stand in one table; programs make the providers"},
	{path: "go.opentelemetry.io/otel/sdk", rooms: []string{"examples/..."}, tests: true,
		why: "the user chooses the SDK and its exporters; the library links the API"},
	{path: "go.uber.org/goleak", rooms: []string{"discovery/discoverytest", "idempotency/idempotencytest", "saga/sagatest"}, tests: true,
		why: "finds goroutines that outlive their owner"},
	{path: "go.yaml.in/yaml/v4", rooms: []string{"policy"}, tests: true,
		why: "an operator writes YAML; what it may say is decided in one place"},
	{path: "golang.org/x/net/http/httpguts", rooms: []string{"internal/httpadapter"},
		why: "net/http's own judgement of a header, which it does not export"},
	{path: "golang.org/x/net/http2", tests: true,
		why: "servers that keep to HTTP/2 to the letter, or do not, for tests"},
	{path: "golang.org/x/sync", rooms: []string{"*"}, tests: true,
		why: "the Go team's own small additions; nothing to replace"},
	{path: "golang.org/x/time", rooms: []string{"internal/consul", "deadletter", "limit"},
		why: "a watch that spins must not flood the agent, nor dead letters their receivers; a rate limit is a token bucket"},
	{path: "google.golang.org/grpc", rooms: []string{"internal/grpcadapter", "mesh", "examples/..."}, tests: true,
		why: "everything else is the same for HTTP, and must stay so; mesh has its types in signatures"},
	{path: "google.golang.org/protobuf", rooms: []string{"internal/grpcadapter", "examples/..."}, tests: true,
		why: "messages are the user's and carried unread; only a method's idempotency is looked up"},
	{path: "pgregory.net/rapid", rooms: []string{"idempotency/idempotencytest", "deadletter/deadlettertest", "saga/sagatest"}, tests: true,
		why: "property tests"},
}

func TestDoors(t *testing.T) {
	h := ours(t)
	report(t, checkDoors(h, rooms, doors))
	gomod, err := os.ReadFile("../../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	report(t, checkRequirements(string(gomod), doors))
}

// checkDoors looks for imports that come in by another way, and for doors that
// nobody uses any more.
func checkDoors(h *house, plan map[string]room, doors []door) (faults []string) {
	used := map[string]bool{} // door and room
	for _, p := range h.sorted() {
		for _, f := range p.files {
			for _, imp := range f.imports {
				if first, _, _ := strings.Cut(imp, "/"); !strings.Contains(first, ".") {
					continue // the standard library
				}
				if _, own := within(imp); own {
					continue
				}
				d, ok := doorOf(doors, imp)
				switch {
				case !ok:
					faults = append(faults, fmt.Sprintf(
						"%s imports %s, a new dependency: add it to internal/archtest/doors_test.go with its rooms and the reason", f.path, imp))
				case f.test && d.tests:
				case d.admits(p.room):
					used[d.path+" "+p.room] = used[d.path+" "+p.room] || !f.test
				default:
					faults = append(faults, fmt.Sprintf("%s imports %s, which belongs to %s: %s",
						f.path, imp, d.owners(), d.why))
				}
			}
		}
	}
	for _, d := range doors {
		for _, name := range d.rooms {
			r, known := plan[name]
			switch {
			case name == "*" || strings.HasSuffix(name, "/..."):
			case !known:
				faults = append(faults, fmt.Sprintf("the door of %s leads to %s, which is not in the plan", d.path, name))
			case h.rooms[name] != nil && !r.planned && !used[d.path+" "+name]:
				faults = append(faults, fmt.Sprintf("%s does not import %s: take it off the door in internal/archtest/doors_test.go",
					name, d.path))
			}
		}
	}
	return faults
}

// checkRequirements looks for direct requirements that have no door.
func checkRequirements(gomod string, doors []door) (faults []string) {
	for line := range strings.Lines(gomod) {
		fields := strings.Fields(strings.TrimPrefix(strings.TrimSpace(line), "require "))
		if len(fields) != 2 || !strings.HasPrefix(fields[1], "v") { // an indirect one has a comment behind
			continue
		}
		d, ok := doorOf(doors, fields[0])
		if !ok { // perhaps only a part of the module may come in
			ok = slices.ContainsFunc(doors, func(part door) bool { return strings.HasPrefix(part.path, fields[0]+"/") })
		} else {
			ok = len(d.rooms) > 0 || d.tests
		}
		if !ok {
			faults = append(faults, fmt.Sprintf("go.mod requires %s: no door in internal/archtest/doors_test.go lets it in", fields[0]))
		}
	}
	return faults
}

func doorOf(doors []door, imp string) (best door, ok bool) {
	for _, d := range doors {
		if (imp == d.path || strings.HasPrefix(imp, d.path+"/")) && len(d.path) > len(best.path) {
			best, ok = d, true
		}
	}
	return best, ok
}

func (d door) admits(room string) bool {
	return slices.ContainsFunc(d.rooms, func(name string) bool { return name == "*" || covers(name, room) })
}

func (d door) owners() string {
	owners := strings.Join(d.rooms, ", ")
	switch {
	case owners == "" && !d.tests:
		return "nobody"
	case owners == "":
		return "tests"
	default:
		return owners
	}
}

func TestDoorsNotice(t *testing.T) {
	doors := []door{
		{path: "a.org/a", rooms: []string{"one"}, why: "why a"},
		{path: "a.org/a/free", rooms: []string{"*"}},
		{path: "a.org/never", why: "the licence"},
		{path: "a.org/never/but/this", rooms: []string{"*"}},
		{path: "b.org/b", rooms: []string{"one", "two", "three"}},
		{path: "t.org/t", tests: true, why: "only tests"},
	}
	plan := map[string]room{"one": {}, "two": {}}
	h := small(t,
		"one/one.go", "package one\nimport (\n_ `fmt`\n_ `a.org/a/sub`\n_ `b.org/b`\n_ `t.org/t`\n)\n",
		"one/one_test.go", "package one\nimport _ `t.org/t`\n",
		"two/two.go", "package two\nimport (\n_ `a.org/a`\n_ `a.org/a/free`\n_ `a.org/never/x`\n_ `c.org/c`\n)\n",
		"two/two_test.go", "package two_test\nimport (\n_ `a.org/a`\n_ `b.org/b`\n_ `"+module+"/one`\n)\n",
	)
	expect(t, checkDoors(h, plan, doors),
		"one/one.go imports t.org/t, which belongs to tests: only tests",
		"two/two.go imports a.org/a, which belongs to one: why a",
		"two/two.go imports a.org/never/x, which belongs to nobody: the licence",
		"two/two.go imports c.org/c, a new dependency",
		"two/two_test.go imports a.org/a, which belongs to one",
		"two does not import b.org/b",
		"the door of b.org/b leads to three, which is not in the plan",
	)
	expect(t, checkRequirements("module x\n\ngo 1.26\n\nrequire n.org/n v1.0.0\nrequire (\n"+
		"\ta.org/a/v2 v2.0.0\n\ta.org/never v1.0.0\n\tt.org/t v0.1.0\n\tb.org v1.0.0\n\tz.org/z v1.0.0 // indirect\n)\n", doors),
		"go.mod requires n.org/n",
		"go.mod requires a.org/never",
	)
}

// The linter shows the doors in the editor; it must not know fewer.
func TestLinterKnowsTheDoors(t *testing.T) {
	config, err := fs.ReadFile(os.DirFS("../.."), ".golangci.yml")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{
		"google.golang.org/grpc", "github.com/hashicorp/consul", "github.com/hashicorp/consul/api",
		"github.com/sony/gobreaker", "github.com/cenkalti/backoff", "go.opentelemetry.io/otel", "go.opentelemetry.io/otel/sdk",
	} {
		if !strings.Contains(string(config), "{pkg: "+path+",") {
			t.Errorf(".golangci.yml: depguard has no rule for %s", path)
		}
	}
}
