//go:build !linux

package process

import "syscall"

// attributes: only Linux ends a process with its parent, and only Linux has the
// figures that [Process.CPU] reads.
func attributes() *syscall.SysProcAttr { return nil }
