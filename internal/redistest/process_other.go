//go:build !linux

package redistest

import "syscall"

// attributes: only Linux ends a process with its parent.
func attributes() *syscall.SysProcAttr { return nil }
