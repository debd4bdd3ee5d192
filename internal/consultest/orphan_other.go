//go:build !linux

package consultest

import "os/exec"

// dieWithParent does nothing: only Linux knows how. An agent survives a test
// binary that is killed.
func dieWithParent(*exec.Cmd) {}
