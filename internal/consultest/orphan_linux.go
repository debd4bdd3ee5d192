package consultest

import (
	"os/exec"
	"syscall"
)

// DieWithParent lets the kernel kill the child when the thread that starts it
// dies, which it does with the program, however that ends. Ctrl-C reaches the
// program alone, so that it can end its children in order.
func DieWithParent(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}
