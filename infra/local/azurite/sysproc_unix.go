//go:build unix && !linux

package azurite

import "syscall"

// sysProcAttr puts Azurite into a process group of its own, so that Ctrl-C
// in a terminal reaches this process only.
func sysProcAttr() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
