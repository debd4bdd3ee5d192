package consultest

import (
	"os/exec"
	"syscall"
)

// dieWithParent lets the kernel kill the child when the thread that started it
// dies, which it does with the test binary, however that ends.
func dieWithParent(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
