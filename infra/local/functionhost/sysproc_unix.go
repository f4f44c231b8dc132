//go:build unix && !linux

package functionhost

import "syscall"

// sysProcAttr puts the handler into a process group of its own, so that Ctrl-C
// in a terminal reaches the host only.
func sysProcAttr() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
