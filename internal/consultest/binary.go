package consultest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
)

const (
	serverModule = "github.com/hashicorp/consul"
	binaryEnv    = "CONSUL_BIN"
)

// ErrNoBinary: there is no Consul server to run on this machine.
var ErrNoBinary = errors.New("no Consul server binary: run `make consul` once (it builds one, about 5 minutes), " +
	"or set " + binaryEnv)

// Binary returns the path of the Consul server, or [ErrNoBinary].
func Binary() (string, error) {
	if path := os.Getenv(binaryEnv); path != "" {
		found, err := exec.LookPath(path)
		if err != nil {
			return "", fmt.Errorf("%s=%s: %w", binaryEnv, path, err)
		}
		return found, nil
	}
	_, path, err := place()
	if err != nil {
		return "", err
	}
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("%w (looked for %s)", ErrNoBinary, path)
	}
	return path, nil
}

// Build returns what [Binary] would, after building it if it is missing; what
// the compiler says goes to log. Several builders may run at once: each builds
// a file of its own, and the last one to finish stays.
func Build(ctx context.Context, log io.Writer) (string, error) {
	path, err := Binary()
	if err == nil || !errors.Is(err, ErrNoBinary) {
		return path, err
	}
	module, path, err := place()
	if err != nil {
		return "", err
	}
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return "", fmt.Errorf("build Consul: %w", err)
	}
	tmp, err := os.MkdirTemp(dir, "build-")
	if err != nil {
		return "", fmt.Errorf("build Consul: %w", err)
	}
	defer os.RemoveAll(tmp) // only what a failed build left behind

	built := filepath.Join(tmp, filepath.Base(path))
	cmd := exec.CommandContext(ctx, "go", "build", "-o", built, serverModule)
	cmd.Dir = module
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=")
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("build Consul in %s: %w", module, err)
	}
	if err := os.Rename(built, path); err != nil {
		return "", fmt.Errorf("build Consul: %w", err)
	}
	return path, nil
}

// place says where the module of the server is and where its binary belongs.
func place() (module, binary string, err error) {
	module, err = moduleDir()
	if err != nil {
		return "", "", err
	}
	version, err := pinnedVersion(filepath.Join(module, "go.mod"))
	if err != nil {
		return "", "", err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", "", fmt.Errorf("place for the Consul binary: %w", err)
	}
	name := "consul"
	if runtime.GOOS == "windows" {
		name += ".exe"
	}
	return module, filepath.Join(cache, "innermesh", "consul-"+version, name), nil
}

// moduleDir finds tools/consul from the working directory upwards; tests and
// examples run inside the repository.
func moduleDir() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find tools/consul: %w", err)
	}
	for at := dir; ; at = filepath.Dir(at) {
		module := filepath.Join(at, "tools", "consul")
		if _, err := os.Stat(filepath.Join(module, "go.mod")); err == nil {
			return module, nil
		}
		if at == filepath.Dir(at) {
			return "", fmt.Errorf("no tools/consul above %s: run inside the innermesh repository, or set %s", dir, binaryEnv)
		}
	}
}

var requirement = regexp.MustCompile(`(?m)^\s*(?:require\s+)?` + regexp.QuoteMeta(serverModule) + `\s+(v\S+)`)

func pinnedVersion(gomod string) (string, error) {
	data, err := os.ReadFile(gomod)
	if err != nil {
		return "", fmt.Errorf("version of Consul: %w", err)
	}
	found := requirement.FindSubmatch(data)
	if found == nil {
		return "", fmt.Errorf("version of Consul: %s does not require %s", gomod, serverModule)
	}
	return string(bytes.TrimSpace(found[1])), nil
}
