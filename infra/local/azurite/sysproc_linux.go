package azurite

import "syscall"

// sysProcAttr puts Azurite into a process group of its own, so that Ctrl-C
// in a terminal reaches this process only, and lets the kernel end it should this
// process die without a chance to.
func sysProcAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
