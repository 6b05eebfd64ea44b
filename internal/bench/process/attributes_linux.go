package process

import "syscall"

// attributes has the kernel end a process when the program that started it ends,
// also when that is killed and cleans up nothing.
func attributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
