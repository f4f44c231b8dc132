package functionhost

import "syscall"

// sysProcAttr puts the handler into a process group of its own, so that Ctrl-C
// in a terminal reaches the host only, and lets the kernel end it should the
// host die without a chance to.
func sysProcAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
